"""Hot copies of sessions, and the guards that keep outdated copies from being published.

    convostore:{aapb}:copy:<session>    C|<revision>|<tenant>|<created µs>|<activity µs>|<server>|<generation>⏎p<JSON>
                                    or  G|<server>|<highest revision reported>|<token>@<until ms>,<token>@<until ms>…

Copies and guards are valid only under the server identity that they were made under: a server that was restarted or
promoted may have lost later writes. The protocol and its proof: docs/explanation/hot-copies.md.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple, Self, TypeVar
from uuid import UUID

from convostore.domain.codec import Unreadable
from convostore.domain.sessions import PAYLOAD
from convostore.errors import StoreError
from convostore.models import Session
from convostore.redis import codec, keys
from convostore.redis.connection import Connection
from convostore.redis.driver import Client
from convostore.redis.scripts import load_script
from convostore.redis.servers import servers_of
from convostore.tiered.breaker import Breaker
from convostore.tiered.identities import Identities

T = TypeVar("T")

_script = partial(load_script, "convostore.tiered")

_log = logging.getLogger("convostore.session")


class Copy(NamedTuple):
    """A session as it was published."""

    session: Session
    server: str
    generation: int


class HotCopies:
    """The hot tier of `TieredSessionStore`. Its calls do not fail: they report what could not be done.

    Args:
        client: from `create_client`, or any asyncio client of redis-py.
        ttl: how long after its publication a copy expires.
        guard_ttl: how long after it was placed a guard expires; longer than any call's deadline.
        timeout: how long a call may take, in seconds.
        breaker: whether to try a call.
    """

    def __init__(
        self, client: Client, *, ttl: timedelta, guard_ttl: timedelta, timeout: float, breaker: Breaker | None = None
    ) -> None:
        self._servers = servers_of(client)
        self._ttl = _milliseconds(ttl)
        self._guard_ttl = _milliseconds(guard_ttl)
        self._timeout = timeout
        self._identities = Identities(self._servers.identity_lasts)
        self.breaker = breaker or Breaker()

    def within(self, seconds: float) -> Self:
        """Return this hot tier with another timeout."""
        twin = copy.copy(self)
        twin._timeout = seconds
        return twin

    async def read(self, session_id: UUID) -> Copy | None:
        """Return a session's copy, if one was published by this server."""

        async def get(connection: Connection) -> Copy | None:
            # GETEX without options reads, but counts as a write: replicas refuse it, and so do primaries that have too
            # few replicas.
            return self._published(connection, await connection.execute("GETEX", _key(session_id)))

        return await self._attempt(session_id, get, None)

    async def place_guard(self, session_id: UUID, token: str, *, writing: bool) -> Copy | bool:
        """Place a guard on a session; return whether it is placed, or, unless writing, the copy that is there."""

        async def place(connection: Connection) -> Copy | bool:
            arguments = _key(session_id), token, self._identities.last(connection), self._guard_ttl
            value = await connection.run(_script("place_guard"), *arguments, "write" if writing else "read")
            if not value:
                return True
            found = self._published(connection, value)
            if found is None:
                await connection.run(_script("place_guard"), *arguments, "write")
            return found or True

        return await self._attempt(session_id, place, False)

    async def release_guard(
        self, session_id: UUID, token: str, revision: int, session: Session | None = None, generation: int = 0
    ) -> bool:
        """Release a guard, report a revision, and publish a copy unless a higher revision was reported.

        Args:
            session_id: the session.
            token: of the guard.
            revision: the revision that was read or written; 0 for none, -1 if the session is deleted.
            session: the session to publish.
            generation: the tenant's generation, not newer than the session.

        Returns:
            Whether the revision was reported; the copy may be published or not.
        """

        async def release(connection: Connection) -> bool:
            server = self._identities.last(connection)
            value = b"" if session is None else _value(session, server, generation)
            await connection.run(_script("release_guard"), _key(session_id), token, server, revision, value, self._ttl)
            return True

        return await self._attempt(session_id, release, False)

    async def evict(self, session_id: UUID, tenant_id: UUID | None) -> bool:
        """Remove a session's copy, if it is this tenant's; return whether there was one."""

        async def evict(connection: Connection) -> bool:
            return bool(await connection.run(_script("evict"), _key(session_id), str(tenant_id or "")))

        return await self._attempt(session_id, evict, False)

    async def _attempt(self, session_id: UUID, work: Callable[[Connection], Awaitable[T]], otherwise: T) -> T:
        async def identified(connection: Connection) -> T:
            await self._identities.check(connection)
            return await work(connection)

        if not self.breaker.try_it():
            return otherwise
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._servers.on(_key(session_id), identified)
        except Exception as error:  # noqa: BLE001  (the system of record answers instead)
            what = (isinstance(error, StoreError) and error.code) or type(error).__name__
            if what != "WRONGTYPE":
                self.breaker.failed()
                _log.warning("hot tier failed: %s", what, extra={"store": "session", "code": "hot"})
                return otherwise
            self._count_garbage(what)
            result = otherwise
        self.breaker.succeeded()
        return result

    def _published(self, connection: Connection, value: bytes | None) -> Copy | None:
        """Return the copy in a value, if it was published under the server's present identity."""
        if value is None or not value.startswith(b"C|"):
            return None
        try:
            found = _copy(value)
        except (ValueError, OverflowError, Unreadable) as error:
            self._count_garbage(type(error).__name__)
            return None
        is_valid = self._identities.is_fresh(connection) and found.server == self._identities.last(connection)
        return found if is_valid else None

    def _count_garbage(self, what: str) -> None:
        """Count a value that no store wrote: a miss, which the next guard replaces."""
        self.breaker.failed(in_a_row=False)
        _log.warning("hot tier holds garbage: %s", what, extra={"store": "session", "code": "hot"})


def _copy(value: bytes) -> Copy:
    line, _, payload = value.partition(b"\n")
    _, revision, tenant, created, activity, server, generation = line.decode().split("|")
    session = PAYLOAD.from_document(
        payload.removeprefix(codec.PLAIN),
        "of a hot copy",
        revision=int(revision),
        created_at=codec.moment(int(created)),
        last_activity_at=codec.moment(int(activity)),
    )
    if str(session.tenant_id) != tenant:
        raise ValueError("the session is of another tenant than its copy")
    return Copy(session, server, int(generation))


def _value(session: Session, server: str, generation: int) -> bytes:
    created, activity = codec.microseconds(session.created_at), codec.microseconds(session.last_activity_at)
    line = f"C|{session.revision}|{session.tenant_id}|{created}|{activity}|{server}|{generation}\n"
    return line.encode() + codec.payload(session)


def _key(session_id: UUID) -> str:
    return f"{keys.bucket(session_id)}copy:{session_id}"


def _milliseconds(span: timedelta) -> int:
    return max(1, round(span.total_seconds() * 1_000))
