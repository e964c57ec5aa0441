"""Hot copies of sessions whose truth is elsewhere, and the fences that keep outdated ones from being published.

    convostore:{aapb}:copy:<session>    C|<revision>|<tenant>|<created µs>|<activity µs>|<server>|<generation>⏎p<JSON>
                                    or  F|<server>|<highest revision seen>|<token>@<until ms>,<token>@<until ms>…

Copies and fences count only on the server that they were made on: a restarted server, or a replica that was promoted,
may have lost what came after. So every connection learns which server it leads to, and reads by a command that servers
refuse as soon as they are replicas. See docs/explanation/hot-copies.md.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from convostore.domain.revisions import set_managed
from convostore.errors import StoreError
from convostore.models import Session
from convostore.redis import codec, keys
from convostore.redis.connection import Connection
from convostore.redis.driver import Client
from convostore.redis.scripts import load_script
from convostore.redis.servers import servers_of
from convostore.tiered.breaker import Breaker

T = TypeVar("T")

_script = partial(load_script, "convostore.tiered")

_log = logging.getLogger("convostore.session")


class Copy(NamedTuple):
    """A session as it was published."""

    session: Session
    server: str
    generation: int


class HotCopies:
    """The hot tier of `TieredSessionStore`. No call of it fails: what cannot be done is reported as not done.

    Args:
        client: from `create_client`, or any asyncio client that returns bytes.
        ttl: how long after it was published a copy is removed.
        fence_ttl: how long somebody may stay in a fence; longer than any call's deadline.
        timeout: how long a call may take, in seconds.
        breaker: says whether to try.
    """

    def __init__(
        self, client: Client, *, ttl: timedelta, fence_ttl: timedelta, timeout: float, breaker: Breaker | None = None
    ) -> None:
        self._servers = servers_of(client)
        self._ttl = _milliseconds(ttl)
        self._fence_ttl = _milliseconds(fence_ttl)
        self._timeout = timeout
        self._identities: WeakKeyDictionary[Any, tuple[str, float]] = WeakKeyDictionary()
        self.breaker = breaker or Breaker()

    def within(self, seconds: float) -> Self:
        """Return this hot tier with another limit to how long a call may take."""
        twin = copy.copy(self)
        twin._timeout = seconds
        return twin

    async def read(self, session_id: UUID) -> Copy | None:
        """Return a session's copy, if there is one to be believed."""

        async def get(connection: Connection) -> Copy | None:
            # GET with nothing more to say, but a write: replicas refuse it, and primaries without enough replicas.
            return self._believed(connection, await connection.execute("GETEX", _key(session_id)))

        return await self._attempt(session_id, get, None)

    async def enter(self, session_id: UUID, token: str, *, writing: bool) -> Copy | bool:
        """Enter a session's fence; return whether that was possible, or, when reading, the copy that is there."""

        async def enter(connection: Connection) -> Copy | bool:
            server, _ = self._identities[connection.socket]
            mode = "write" if writing else "read"
            value = await connection.run(_script("enter"), _key(session_id), token, server, self._fence_ttl, mode)
            if not value:
                return True
            found = self._believed(connection, value)
            if found is None:
                await connection.run(_script("enter"), _key(session_id), token, server, self._fence_ttl, "write")
            return found or True

        return await self._attempt(session_id, enter, False)

    async def leave(
        self, session_id: UUID, token: str, revision: int, session: Session | None = None, generation: int = 0
    ) -> bool:
        """Leave a session's fence and publish a copy if nobody saw a higher revision; return whether one has left.

        Args:
            session_id: the session.
            token: with which it was entered.
            revision: the revision that was seen or written; 0 for none, -1 if the session is gone.
            session: the session to publish.
            generation: the tenant's generation, not newer than the session.
        """

        async def leave(connection: Connection) -> bool:
            server, _ = self._identities[connection.socket]
            value = b"" if session is None else _value(session, server, generation)
            await connection.run(_script("leave"), _key(session_id), token, server, revision, value, self._ttl)
            return True

        return await self._attempt(session_id, leave, False)

    async def drop(self, session_id: UUID, tenant_id: UUID | None) -> bool:
        """Remove a session's copy, if it is this tenant's; return whether there was one."""

        async def drop(connection: Connection) -> bool:
            return bool(await connection.run(_script("drop"), _key(session_id), str(tenant_id or "")))

        return await self._attempt(session_id, drop, False)

    async def _attempt(self, session_id: UUID, work: Callable[[Connection], Awaitable[T]], otherwise: T) -> T:
        async def work_there(connection: Connection) -> T:
            await self._identify(connection)
            return await work(connection)

        if not self.breaker.try_it():
            return otherwise
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._servers.on(_key(session_id), work_there)
        except Exception as error:  # noqa: BLE001  (whatever it is, the truth is elsewhere)
            what = (isinstance(error, StoreError) and error.code) or type(error).__name__
            if what != "WRONGTYPE":
                self.breaker.failed()
                _log.warning("hot tier failed: %s", what, extra={"store": "session", "code": "hot"})
                return otherwise
            self._count_garbage(what)
            result = otherwise
        self.breaker.succeeded()
        return result

    async def _identify(self, connection: Connection) -> None:
        """Learn to which server a link leads, unless that was learned a moment ago."""
        asked_at = time.monotonic()
        known = self._identities.get(connection.socket)
        if known is None or asked_at - known[1] > self._servers.identity_lasts / 2:
            self._identities[connection.socket] = await connection.identity(), asked_at

    def _believed(self, connection: Connection, value: bytes | None) -> Copy | None:
        """Return a copy, if the value is one of this server's."""
        if value is None or not value.startswith(b"C|"):
            return None
        try:
            found = _copy(value)
        except (ValueError, OverflowError) as error:
            self._count_garbage(type(error).__name__)
            return None
        server, asked_at = self._identities[connection.socket]
        is_certain = time.monotonic() - asked_at < self._servers.identity_lasts
        return found if is_certain and found.server == server else None

    def _count_garbage(self, what: str) -> None:
        """Count a value that no store wrote: there is no copy, and the next to enter replaces it."""
        self.breaker.failed(in_a_row=False)
        _log.warning("hot tier holds garbage: %s", what, extra={"store": "session", "code": "hot"})


def _copy(value: bytes) -> Copy:
    line, _, payload = value.partition(b"\n")
    _, revision, tenant, created, activity, server, generation = line.decode().split("|")
    session = Session.model_validate_json(payload.removeprefix(codec.PLAIN))
    if str(session.tenant_id) != tenant:
        raise ValueError("the session is of another tenant than its copy")
    set_managed(
        session,
        revision=int(revision),
        created_at=codec.moment(int(created)),
        last_activity_at=codec.moment(int(activity)),
    )
    return Copy(session, server, int(generation))


def _value(session: Session, server: str, generation: int) -> bytes:
    created, activity = codec.microseconds(session.created_at), codec.microseconds(session.last_activity_at)
    line = f"C|{session.revision}|{session.tenant_id}|{created}|{activity}|{server}|{generation}\n"
    return line.encode() + codec.payload(session)


def _key(session_id: UUID) -> str:
    return f"{keys.bucket(session_id)}copy:{session_id}"


def _milliseconds(span: timedelta) -> int:
    return max(1, round(span.total_seconds() * 1_000))
