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

ScriptCall = tuple[str, str, tuple[Any, ...]]
"""A script's name, its key and its arguments."""


class Commands:
    """Sends pipelines and runs scripts, on a client that it neither opens nor closes."""

    def __init__(self, client: Client) -> None:
        self._servers = servers_of(client)
        self._checking = asyncio.Lock()
        self._checked = False

    async def ping(self) -> None:
        """PING every server that holds keys."""

        async def ping(connection: Connection) -> None:
            await connection.execute("PING")

        await self._servers.everywhere(ping)

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip, each to the server that holds its key; return their replies.

        Raises:
            ConnectionError: a command was not run; if others were, the outcome is unknown.
            StoreError: a command was refused.
        """
        return _without_errors(await self._replies(commands))

    async def value(self, session_id: UUID) -> bytes | None:
        """Return a session's value."""
        (value,) = await self.send([("GET", keys.value_key(session_id))])
        found: bytes | None = value
        return found

    async def values(self, session_ids: Iterable[UUID]) -> list[bytes]:
        """Return the values of those sessions that exist, in one round trip."""
        replies = await self.send([("GET", keys.value_key(session_id)) for session_id in session_ids])
        return [value for value in replies if value]

    async def run(self, name: str, session_id: UUID, *arguments: Any, after: Command | None = None) -> Any:
        """Run a script on a session after another command, in one round trip if one server runs both in order."""
        call = on(name, session_id, *arguments)
        if after is not None and not self._servers.in_order:
            await self.send([after])
            after = None
        return (await self._run([call], after=[] if after is None else [after]))[-1]

    async def run_all(self, calls: Iterable[ScriptCall]) -> list[Any]:
        """Run scripts in one round trip; return their results."""
        return await self._run(list(calls))

    async def repair_pointer(self, key: str, session_id: UUID, score: int, instead: int | None = None) -> None:
        """Remove a session's channel pointer, or restore its score, unless a later save has changed the score.

        Raises:
            StoreError: it failed. The session itself was written before, so the outcome is unknown.
        """
        try:
            await self.run_all([("repair_pointer", key, (str(session_id), score, "" if instead is None else instead))])
        except StoreError as error:
            error.outcome = "unknown"
            raise

    async def _run(self, calls: list[ScriptCall], *, after: Sequence[Command] = ()) -> list[Any]:
        by_hash = [script(name).by_hash(key, *arguments) for name, key, arguments in calls]
        replies = await self._replies([*after, *by_hash])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, StoreError) and reply.code == "NOSCRIPT"]
        unloaded = [calls[at - len(after)] for at in unknown]
        by_text = [script(name).by_text(key, *arguments) for name, key, arguments in unloaded]
        for at, reply in zip(unknown, await self._replies(by_text), strict=True):
            replies[at] = reply
        return _without_errors(replies)

    async def _replies(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        if not self._checked:
            async with self._checking:
                if not self._checked:
                    await refuse_eviction(self._servers)
                    self._checked = True
        return await self._servers.send(commands)


def _without_errors(replies: list[Any]) -> list[Any]:
    """Return the replies of a pipeline, or raise the first error among them."""
    errors = [reply for reply in replies if isinstance(reply, StoreError)]
    if not errors:
        return replies
    if isinstance(errors[0], ConnectionError) and len(errors) < len(replies):
        errors[0].outcome = "unknown"
    raise errors[0]


def on(name: str, session_id: UUID, *arguments: Any) -> ScriptCall:
    """Return the call of a script on a session, with the bucket's prefix and the id as its first arguments."""
    return name, keys.value_key(session_id), (keys.bucket(session_id), str(session_id), *arguments)
