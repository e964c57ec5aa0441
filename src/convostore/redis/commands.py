"""Commands and scripts on the servers of a client: what the parts of the session store share."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from convostore.call.call import nothing_applied
from convostore.domain.codec import Unreadable
from convostore.errors import ConnectionError, StoreError
from convostore.models import Session
from convostore.redis import keys
from convostore.redis.client import refuse_eviction
from convostore.redis.connection import Command, Connection
from convostore.redis.driver import Client
from convostore.redis.keys import OfTenant, SessionName
from convostore.redis.scripts import script
from convostore.redis.servers import servers_of

ScriptCall = tuple[str, str, tuple[Any, ...]]
"""A script's name, its key and its arguments."""

WRONG_TYPE = frozenset({"WRONGTYPE"})
"""The code of a reply about a key that has another type than the command's."""


class Commands:
    """Sends pipelines and runs scripts, on a client that it neither opens nor closes.

    Args:
        client: the client.
        coalesce: whether concurrent calls share a connection per node.
        by_tenant: whether a session id is unique per tenant alone.
    """

    def __init__(self, client: Client, *, coalesce: bool = True, by_tenant: bool = False) -> None:
        self._servers = servers_of(client, coalesce=coalesce)
        self._by_tenant = by_tenant
        self._checking = asyncio.Lock()
        self._checked = False

    def name(self, session_id: UUID, tenant_id: UUID | None) -> SessionName:
        """Return what names a session in keys and indexes; the tenant is given where ids are unique per tenant."""
        return OfTenant(tenant_id, session_id) if self._by_tenant and tenant_id else session_id

    def name_of(self, session: Session) -> SessionName:
        """Return what names a session in keys and indexes."""
        return self.name(session.session_id, session.tenant_id)

    async def ping(self) -> None:
        """PING every server that holds keys."""

        async def ping(connection: Connection) -> None:
            await connection.execute("PING")

        await self._servers.everywhere(ping)

    async def versions(self) -> str | None:
        """As `Servers.versions`."""
        return await self._servers.versions()

    async def send(self, commands: Sequence[Command], *, tolerated: Collection[str] = ()) -> list[Any]:
        """Send commands in one round trip, each to the server that holds its key; return their replies.

        Args:
            commands: the commands.
            tolerated: codes of errors that are returned in place of replies.

        Raises:
            ConnectionError: a command was not run; if others were, the outcome is unknown.
            StoreError: a command was refused.
        """
        return _without_errors(await self._replies(commands), tolerated)

    async def value(self, session: SessionName) -> bytes | None:
        """Return a session's value.

        Raises:
            Unreadable: its key has another type.
        """
        key = keys.value_key(session)
        await self._check()
        try:
            value: bytes | None = await self._servers.on(key, lambda connection: connection.execute("GET", key))
        except StoreError as error:
            if error.code not in WRONG_TYPE:
                raise
            return checked_value(session, error)
        return value

    async def values(self, sessions: Iterable[SessionName]) -> list[tuple[SessionName, Any]]:
        """Return sessions with the replies that are their values, in one round trip: see `checked_value`."""
        asked = list(sessions)
        replies = await self.send([("GET", keys.value_key(each)) for each in asked], tolerated=WRONG_TYPE)
        return list(zip(asked, replies, strict=True))

    async def run(self, name: str, session: SessionName, *arguments: Any, after: Command | None = None) -> Any:
        """Run a script on a session after another command, in one round trip if one server runs both in order."""
        call = on(name, session, *arguments)
        if after is not None and not self._servers.in_order:
            await self.send([after])
            after = None
        return (await self._run([call], after=[] if after is None else [after]))[-1]

    async def run_all(self, calls: Iterable[ScriptCall], *, tolerated: Collection[str] = ()) -> list[Any]:
        """Run scripts in one round trip; return their results, and errors as `send` does."""
        return await self._run(list(calls), tolerated=tolerated)

    async def repair_pointer(
        self, pointer: keys.Pointer, session: SessionName, score: int, instead: int | None = None
    ) -> None:
        """Remove a session's channel pointer, or restore its score, unless a later save has changed the score.

        Raises:
            StoreError: it failed. The session itself was written before, so the outcome is unknown.
        """
        try:
            await self.run_all([repair(pointer, session, score, instead)])
        except StoreError as error:
            error.outcome = "unknown"
            raise

    async def _run(
        self, calls: list[ScriptCall], *, after: Sequence[Command] = (), tolerated: Collection[str] = ()
    ) -> list[Any]:
        by_hash = [script(name).by_hash(key, *arguments) for name, key, arguments in calls]
        replies = await self._replies([*after, *by_hash])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, StoreError) and reply.code == "NOSCRIPT"]
        unloaded = [calls[at - len(after)] for at in unknown]
        by_text = [script(name).by_text(key, *arguments) for name, key, arguments in unloaded]
        for at, reply in zip(unknown, await self._replies(by_text), strict=True):
            replies[at] = reply
        return _without_errors(replies, tolerated)

    async def _replies(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        await self._check()
        return await self._servers.send(commands)

    async def _check(self) -> None:
        """Check once that the servers evict no sessions."""
        if self._checked:
            return
        async with self._checking:
            if not self._checked:
                with nothing_applied():
                    await refuse_eviction(self._servers)
                self._checked = True


def checked_value(session: SessionName, reply: Any) -> bytes | None:
    """Return the value in a reply to GET, None if there is none.

    Raises:
        Unreadable: the session's key has another type.
    """
    if isinstance(reply, StoreError):
        raise Unreadable("session", session, why="its key has another type") from reply
    value: bytes | None = reply
    return value


def checked_index(item: tuple[str, Any]) -> tuple[str, list[Any]]:
    """Return the key of an index and the reply to a read of it.

    Raises:
        Unreadable: it has another type.
    """
    key, reply = item
    if isinstance(reply, StoreError):
        raise Unreadable("index", key, why="its key has another type") from reply
    return key, reply


def _without_errors(replies: list[Any], tolerated: Collection[str]) -> list[Any]:
    """Return the replies of a pipeline, or raise the first error among them that is not tolerated."""
    errors = [reply for reply in replies if isinstance(reply, StoreError) and reply.code not in tolerated]
    if not errors:
        return replies
    if isinstance(errors[0], ConnectionError) and len(errors) < len(replies):
        errors[0].outcome = "unknown"
    raise errors[0]


def on(name: str, session: SessionName, *arguments: Any) -> ScriptCall:
    """Return the call of a script on a session, with the bucket's prefix and the id as its first arguments."""
    return name, keys.value_key(session), (keys.bucket(session), str(session), *arguments)


def repair(pointer: keys.Pointer, session: SessionName, score: int, instead: int | None = None) -> ScriptCall:
    """Return the call that removes a session's channel pointer or restores its score: see `Commands.repair_pointer`."""
    member = pointer.member(session)
    return "repair_pointer", pointer.key, (member, score, "" if instead is None else instead)
