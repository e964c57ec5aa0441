"""Commands and scripts on the servers of a client: what the parts of the session store share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from convostore.errors import ConnectionError, StoreError
from convostore.redis import keys
from convostore.redis.client import refuse_eviction
from convostore.redis.connection import Command, Connection
from convostore.redis.driver import Client
from convostore.redis.scripts import script
from convostore.redis.servers import servers_of

Call = tuple[str, str, tuple[Any, ...]]
"""A script's name, its key and its arguments."""


class Commands:
    """Sends commands together and runs scripts, on a client that somebody else opens and closes."""

    def __init__(self, client: Client) -> None:
        self._servers = servers_of(client)
        self._checking = asyncio.Lock()
        self._checked = False

    async def ping(self) -> None:
        """Hear from every server that holds keys."""

        async def ping(connection: Connection) -> None:
            await connection.execute("PING")

        await self._servers.everywhere(ping)

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands to the servers that hold their keys, in one round trip, and return what each answered.

        Raises:
            ConnectionError: a command could not be run; if others were, the outcome is unknown.
            StoreError: a command was refused.
        """
        return _without_errors(await self._answers(commands))

    async def value(self, session_id: UUID) -> bytes | None:
        """Return a session's value."""
        (value,) = await self.send([("GET", keys.value_key(session_id))])
        found: bytes | None = value
        return found

    async def values(self, session_ids: Iterable[UUID]) -> list[bytes]:
        """Return the values of those sessions that are there, in one round trip."""
        answers = await self.send([("GET", keys.value_key(session_id)) for session_id in session_ids])
        return [value for value in answers if value]

    async def run(self, name: str, session_id: UUID, *arguments: Any, after: Command | None = None) -> Any:
        """Run a script on a session, after another command: in the same trip if one server runs both in order."""
        call = on(name, session_id, *arguments)
        if after is not None and not self._servers.in_order:
            await self.send([after])
            after = None
        return (await self._run([call], after=[] if after is None else [after]))[-1]

    async def mend(self, pointer: str, session_id: UUID, score: int, instead: int | None) -> None:
        """Remove a session's pointer or give it another score, unless another save has touched it meanwhile.

        Raises:
            StoreError: it failed; as something was done before, the outcome is unknown.
        """
        try:
            await self.run_all([("mend", pointer, (str(session_id), score, "" if instead is None else instead))])
        except StoreError as error:
            error.outcome = "unknown"
            raise

    async def run_all(self, calls: Iterable[Call]) -> list[Any]:
        """Run scripts in one round trip and return what each returned; load those that a server does not know."""
        return await self._run(list(calls))

    async def _run(self, calls: list[Call], *, after: Sequence[Command] = ()) -> list[Any]:
        known = [script(name).by_hash(key, *arguments) for name, key, arguments in calls]
        answers = await self._answers([*after, *known])
        first = len(after)
        forgotten = [at for at, answer in enumerate(answers) if _is_unknown_script(answer)]
        loading = [calls[at - first] for at in forgotten]
        loaded = await self._answers([script(name).by_text(key, *arguments) for name, key, arguments in loading])
        for at, answer in zip(forgotten, loaded, strict=True):
            answers[at] = answer
        return _without_errors(answers)

    async def _answers(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        if not self._checked:
            async with self._checking:
                if not self._checked:
                    await refuse_eviction(self._servers)
                    self._checked = True
        return await self._servers.send(commands)


def _without_errors(answers: list[Any]) -> list[Any]:
    """Return answers that were given together, or raise the first error among them."""
    errors = [answer for answer in answers if isinstance(answer, StoreError)]
    if not errors:
        return answers
    if isinstance(errors[0], ConnectionError) and len(errors) < len(answers):
        errors[0].outcome = "unknown"
    raise errors[0]


def _is_unknown_script(answer: object) -> bool:
    return isinstance(answer, StoreError) and answer.code == "NOSCRIPT"


def on(name: str, session_id: UUID, *arguments: Any) -> Call:
    """Return the call of a script on a session: it gets the bucket's prefix and the id before the other arguments."""
    return name, keys.value_key(session_id), (keys.bucket(session_id), str(session_id), *arguments)
