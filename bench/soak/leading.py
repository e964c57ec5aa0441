"""`python -m bench.soak.leading`: one process of a soak, which leads a share of the conversations at a time."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import time_ns
from typing import Any
from uuid import UUID

from bench.soak.journal import Attempt, Conversation, Journal, Plan, writes_of
from convostore import Stores, open_stores
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError
from convostore.models import Channel, Session
from convostore.testing.factories import make_episode, make_event, make_field, make_turn

EMBEDDING = [1.0, 2.0, 3.0]
FIELD = "note"
"""The field of a profile that every turn sets."""
_STALENESS = 1.0
_HURRY = 0.02
"""Of so many writes as this share, and at most so many seconds: their deadlines pass now and then."""


class Leader:
    """Leads one conversation, a turn after the other."""

    def __init__(self, stores: Stores, conversation: Conversation, journal: Journal, name: str) -> None:
        self._stores = stores
        self._conversation = conversation
        self._journal = journal
        self._dice = random.Random(f"{name}.{conversation.number}")
        self._name = f"{name}.{conversation.number}"
        self._number = 0
        self._saved: list[str] = []
        self._revision = 0
        self.figures: Counter[str] = Counter()

    async def lead(self, until: float, pause: float) -> None:
        """Go on until a moment of the loop's clock, with pauses of so many seconds on average."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            try:
                await self._turn()
            except ConnectionError as error:
                self.figures[f"reads failed: {error.code}"] += 1
            await asyncio.sleep(self._dice.uniform(0, 2 * pause))

    async def _turn(self) -> None:
        c, sessions = self._conversation, self._stores.sessions
        if self._dice.random() < 0.5:
            found = await sessions.get(c.session_id, tenant_id=c.tenant_id, max_staleness=_STALENESS)
            self._check(found, "a read that may be old")
        session = await self._read()
        self._check(session, "a read")
        assert session is not None
        if self._dice.random() < 0.7:
            await self._unit(session)
        else:
            await self._single_calls(session)
        self.figures["turns"] += 1

    async def _read(self) -> Session | None:
        c = self._conversation
        which: dict[str, Any] = {"session_id": c.session_id}
        if self._dice.random() < 0.4:
            which = {"agent_id": c.agent_id, "channel": Channel.WEBCHAT, "user_channel_id": c.user_channel_id}
        elif self._dice.random() < 0.4:
            return await self._stores.sessions.get(c.session_id, tenant_id=c.tenant_id)
        turn = await self._stores.load_turn(c.tenant_id, **which, query_embedding=EMBEDDING)
        if turn.profile is None or turn.profile.id != c.profile_id or len(turn.rules) != len(turn.config.rules):
            self._journal.violated(f"{self._name}: a turn was loaded without its profile or rules")
        self.figures["turns loaded"] += 1
        return turn.session

    def _check(self, session: Session | None, how: str) -> None:
        """Note a read that misses what was acknowledged to this process, or goes back behind an earlier one."""
        self.figures[how] += 1
        if session is None or session.tenant_id != self._conversation.tenant_id:
            self._journal.violated(f"{self._name}: {how} found nothing, or another tenant's")
        elif missing := set(self._saved) - set(writes_of(session)):
            self._journal.violated(f"{self._name}: {how} misses {sorted(missing)} in revision {session.revision}")
        elif session.revision < self._revision:
            self._journal.violated(f"{self._name}: {how} has revision {session.revision} after {self._revision}")
        else:
            self._revision = session.revision

    async def _unit(self, session: Session) -> None:
        c, token, item = self._conversation, self._token(), self._contents
        made = {kind: item(kind, token) for kind in ("turn", "event", "episode", "field")}
        session.variables["writes"] = [*writes_of(session), token]

        async def commit() -> None:
            async with self._stores.unit_of_work(c.tenant_id, timeout=self._timeout()) as work:
                work.save_session(session)
                work.update_field(c.profile_id, made["field"])
                work.add_episodes([made["episode"]])
                work.save_turn(made["turn"])
                work.save_event(made["event"])

        if await self._attempt("unit", token, made, commit, session=True):
            self._saved.append(token)
            self._revision = session.revision

    async def _single_calls(self, session: Session) -> None:
        c, stores = self._conversation, self._stores
        calls: dict[str, Callable[[Any], Awaitable[object]]] = {
            "turn": lambda item: stores.audit.within(self._timeout()).save_turn(item),
            "event": lambda item: stores.audit.within(self._timeout()).save_event(item),
            "episode": lambda item: stores.memory.within(self._timeout()).add_episodes([item]),
            "field": lambda item: stores.profiles.within(self._timeout()).update_field(c.tenant_id, c.profile_id, item),
        }
        for kind, call in calls.items():
            token = self._token()
            item = self._contents(kind, token)
            await self._attempt(kind, token, {kind: item}, lambda call=call, item=item: call(item))  # type: ignore[misc]
        token = self._token()
        session.variables["writes"] = [*writes_of(session), token]
        save = stores.sessions.within(self._timeout()).save
        if await self._attempt("session", token, {}, lambda: save(session), session=True):
            self._saved.append(token)
            self._revision = session.revision

    async def _attempt(
        self,
        way: str,
        token: str,
        made: dict[str, Any],
        call: Callable[[], Awaitable[object]],
        *,
        session: bool = False,
    ) -> bool:
        """Make a write, noted before and after; return whether it was acknowledged."""
        items = {kind: [str(_id_of(kind, item))] for kind, item in made.items()}
        attempt = Attempt(token, self._conversation.number, way, items | ({"session": [token]} if session else {}))
        self._journal.began(attempt)
        try:
            await call()
        except (ConflictError, ConnectionError, NotFoundError) as error:
            attempt.outcome, attempt.code = error.outcome, error.code or type(error).__name__
        except StoreError as error:
            attempt.outcome, attempt.code = error.outcome, error.code
            self._journal.violated(f"{self._name}: {way}: {error!r}")
        else:
            attempt.outcome = "acknowledged"
        self._journal.ended(attempt)
        return attempt.outcome == "acknowledged"

    def _contents(self, kind: str, token: str) -> Any:
        """Make something to write, with the token in it."""
        c = self._conversation
        of_session: dict[str, Any] = {"session_id": c.session_id, "customer_profile_id": c.profile_id}
        if kind == "turn":
            return make_turn(c.tenant_id, turn_number=time_ns() // 1_000, user_message=token, **of_session)
        if kind == "event":
            return make_event(c.tenant_id, event_data={"token": token}, **of_session)
        if kind == "episode":
            return make_episode(c.tenant_id, c.agent_id, content=token, embedding=EMBEDDING, **of_session)
        return make_field(FIELD, token)

    def _token(self) -> str:
        self._number += 1
        return f"{self._name}.{self._number}"

    def _timeout(self) -> float:
        return self._dice.uniform(0.001, _HURRY) if self._dice.random() < _HURRY else 5.0


def _id_of(kind: str, item: Any) -> UUID:
    found: UUID = item.turn_id if kind == "turn" else item.id
    return found


async def lead(plan: Plan, journal: Journal, process: int, name: str) -> None:
    """Lead the conversations of a process."""
    async with AsyncExitStack() as opened:
        stores = await _open(plan, opened)
        print("open", flush=True)
        until = asyncio.get_running_loop().time() + plan.seconds
        mine = [each for each in plan.conversations if each.belongs_to(process, plan.processes)]
        leaders = [Leader(stores, each, journal, name) for each in mine]
        await asyncio.gather(*(leader.lead(until, plan.pause) for leader in leaders))
        journal.counted(**sum((leader.figures for leader in leaders), Counter()))


async def _open(plan: Plan, opened: AsyncExitStack) -> Stores:
    """Open stores, again if a connection is cut meanwhile."""
    while True:
        with suppress(ConnectionError):
            opening = open_stores(postgres_url=plan.postgres_url, redis_url=plan.redis_url, sweep_every=0)
            return await opened.enter_async_context(opening)


def main() -> None:
    plan, journal, process, name = sys.argv[1:]
    asyncio.run(lead(Plan.read(Path(plan)), Journal(Path(journal)), int(process), name))


if __name__ == "__main__":
    main()
