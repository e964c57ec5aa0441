"""convostore: five stores by single calls, with all that they check."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from bench.conversations import ByStores, Given, turn
from bench.peers import MESSAGES, Counts, Loaded, Task
from convostore import Stores

_LAST = UUID(int=2**128 - 1)


class Convostore:
    """The tasks by convostore."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._way = ByStores(stores)
        self.tasks: dict[str, Task] = {"turn": self.turn, "history": self.history}

    async def prepare(self, loaded: Sequence[Loaded]) -> None:
        for of in loaded:
            await self._stores.audit.save_turns(of.turns)

    async def turn(self, given: Given) -> Counts:
        read = await turn(self._way, given)
        parts = 1 + sum(len(found) for found in read.config.__dict__.values() if isinstance(found, list))
        return parts, len(read.rules), len(read.episodes)

    async def history(self, given: Given) -> Counts:
        stores, c, record = self._stores, given.conversation, given.record
        session = await stores.sessions.get(c.session_id, tenant_id=c.tenant_id)
        assert session is not None
        number = record.turn_number - MESSAGES // 2 - 1
        cursor = record.model_copy(update={"turn_number": number, "turn_id": _LAST})
        turns = await stores.audit.list_turns_by_session(c.tenant_id, c.session_id, after=cursor, limit=MESSAGES // 2)
        await stores.audit.save_turn(record)
        session.variables["turn"] = given.number
        await stores.sessions.save(session)
        return (2 * len(turns),)
