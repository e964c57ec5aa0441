"""Hot copies of sessions, and the guards that keep outdated copies from being published.

    convostore:{aapb}:copy:<name>    see `values`
    convostore:{aapb}:guard:<tenant>:<session>    G|<server>|<reported>|<unresolved>|<until>|<tokens>

Copies and guards are valid only under the server identity that they were made under: a server that was restarted or
promoted may have lost later writes. A session's name is its id, or `<tenant>:<id>` where ids are unique per tenant
alone. The protocol and its proof: docs/explanation/hot-copies.md.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

from convostore.call.call import nothing_applied, running
from convostore.call.metrics import MeasuredSemaphore
from convostore.domain.codec import Unreadable
from convostore.domain.sessions import HOT_TTL
from convostore.errors import StoreError
from convostore.models import Session
from convostore.redis import keys
from convostore.redis.connection import Connection
from convostore.redis.driver import Client
from convostore.redis.keys import OfTenant
from convostore.redis.scripts import load_script
from convostore.redis.servers import servers_of
from convostore.tiered.breaker import Breaker
from convostore.tiered.identities import Identities
from convostore.tiered.timeouts import Timeout
from convostore.tiered.values import Copy, Guard

T = TypeVar("T")

_script = partial(load_script, "convostore.tiered")

_log = logging.getLogger("convostore.session")

HOT_LEASE = timedelta(seconds=2)
"""How long a process reuses a tenant's generation before it asks for it again."""

HOT_TIMEOUT = 0.25
"""How long a call waits for the hot tier at a time, in seconds."""

PUBLISH_WITHIN = timedelta(seconds=5)
"""How long after its token was placed a holder may publish; the same in every process."""

_MARGIN = timedelta(seconds=1)
"""How much longer a commit may take than its call's deadline, and a clock may run behind another in that time."""

DELETED = -1
"""The revision to report of a session that is not there."""

_LONGEST = 1e9
"""The longest deadline of a call, in seconds, that a token's time to live can express."""

ANY_REVISION = 2**53
"""Of a write: it is applied whatever the revision is."""

_LOADING = -1
"""Of a load: it is not applied to any revision."""

_NOBODY = UUID(int=0)
"""A tenant and a session that no caller has, by which the hot tier is examined."""

_SHARE = 0.1
"""The share of what is left of a call's deadline that one call of the hot tier may take."""

_SHARE_WHEN_LATE = 0.5
"""The same, when the event loop is late."""


class HotCopies:
    """The hot tier of `TieredSessionStore`. Its calls do not fail: they report what could not be done.

    Args:
        client: from `create_client`, or any asyncio client of redis-py.
        ttl: how long after its publication a copy expires, and a write of unknown outcome may still be applied.
        lease: how long a copy may be outdated by a write of unknown outcome.
        timeout: how long a call may take, in seconds; at most a tenth of what is left of the running call's deadline.
        breaker: whether to try a call.
        coalesce: whether concurrent calls share a connection per node, in common round trips.
        by_tenant: whether a session id is unique per tenant alone.
    """

    def __init__(
        self,
        client: Client,
        *,
        ttl: timedelta = HOT_TTL,
        lease: timedelta = HOT_LEASE,
        timeout: float = HOT_TIMEOUT,
        breaker: Breaker | None = None,
        coalesce: bool = True,
        by_tenant: bool = False,
    ) -> None:
        self._servers = servers_of(client, coalesce=coalesce)
        self._by_tenant = by_tenant
        self._ttl = max(1, _milliseconds(ttl))
        self._lease = _milliseconds(lease)
        self._timeout = timeout
        self._identities = Identities(self._servers.identity_lasts)
        # Waiting for a free connection is no failure of the server.
        self._connections = MeasuredSemaphore(self._servers.connections)
        self.breaker = breaker or Breaker()

    async def examine(self) -> str | None:
        """Read where every copy may be, and place and release a guard of nobody's, as a write does.

        Returns:
            The names and versions of the servers, None if the user may not ask for them.

        Raises:
            StoreError: why copies cannot be used.
        """
        versions = await self._servers.versions()
        replies = await self._servers.send([("GETEX", f"{bucket}copy:{_NOBODY}") for bucket in keys.BUCKETS])
        for refused in (reply for reply in replies if isinstance(reply, StoreError)):
            raise refused
        guard = Guard(uuid4(), _NOBODY, uuid4().hex)
        both = self._keys(guard)

        async def placed_and_released(connection: Connection) -> None:
            await self._identities.check(connection)
            await self._placing(guard, both, _milliseconds(PUBLISH_WITHIN), _LOADING, 0)(connection)
            await self._releasing(guard, both, 0)(connection)

        await self._servers.on(both[0], placed_and_released)
        return versions

    async def read(self, session_id: UUID, tenant_id: UUID | None = None) -> Copy | None:
        """Return a session's copy, if this server published it and it is this tenant's, or of any tenant if None."""
        key = self._key(session_id, tenant_id)

        async def get(connection: Connection) -> Copy | None:
            if tenant_id is None:
                # GETEX without options reads, but counts as a write: replicas refuse it, and so do primaries that have
                # too few replicas.
                value = await connection.execute("GETEX", key)
            else:
                value = await connection.run(_script("read"), key, str(tenant_id))
            try:
                return self._published(connection, value)
            except (ValueError, OverflowError, Unreadable) as error:
                self._count_garbage(type(error).__name__)
                await connection.run(_script("evict"), key, "")
                return None

        return await self._attempt(key, get, None)

    async def guard_write(self, guard: Guard, *, expected: int) -> bool:
        """Place a token before a write of the running call, and remove the copy; return whether it is placed.

        Args:
            guard: the token.
            expected: the revision that the write is applied on, or `ANY_REVISION`.
        """
        seconds = min(max(0.0, _seconds_left()), _LONGEST)
        lifetime = _milliseconds(timedelta(seconds=seconds) + PUBLISH_WITHIN + _MARGIN)
        return await self._place(guard, lifetime, expected, 0)

    async def guard_load(self, guard: Guard, *, generation: int) -> bool:
        """Place a token before a load; return whether it is placed.

        It is not where a valid copy is, or a token of another, who publishes one.

        Args:
            guard: the token.
            generation: of the tenant; copies of an earlier one are invalid.
        """
        return await self._place(guard, _milliseconds(PUBLISH_WITHIN), _LOADING, generation)

    async def _place(self, guard: Guard, lifetime: int, expected: int, generation: int) -> bool:
        with nothing_applied():
            both = self._keys(guard)
            return await self._attempt(both[0], self._placing(guard, both, lifetime, expected, generation), False)

    def _placing(
        self, guard: Guard, both: tuple[str, str], lifetime: int, expected: int, generation: int
    ) -> Callable[[Connection], Awaitable[bool]]:
        async def place(connection: Connection) -> bool:
            server = self._identities.last(connection)
            arguments = str(guard.tenant_id), guard.token, server, lifetime, expected, self._ttl, generation
            return bool(await connection.run(_script("place_guard"), both, *arguments))

        return place

    async def release(
        self, guard: Guard, revision: int, session: Session | None = None, generation: int = 0
    ) -> bool | None:
        """Release a token, report a revision, and publish a copy unless a higher revision was reported.

        Args:
            guard: the token.
            revision: the revision that was read or written; 0 for none, -1 if the session is deleted.
            session: the session to publish.
            generation: the tenant's generation, not newer than the session.

        Returns:
            Whether the copy was published; None if the revision could not be reported.
        """
        both = self._keys(guard)
        return await self._attempt(both[0], self._releasing(guard, both, revision, session, generation), None)

    def _releasing(
        self, guard: Guard, both: tuple[str, str], revision: int, session: Session | None = None, generation: int = 0
    ) -> Callable[[Connection], Awaitable[bool]]:
        async def release(connection: Connection) -> bool:
            server = self._identities.last(connection)
            value = b"" if session is None else Copy(session, server, generation).value
            times = _milliseconds(PUBLISH_WITHIN), self._ttl, self._lease, self._ttl
            arguments = str(guard.tenant_id), guard.token, server, revision, value, *times
            return bool(await connection.run(_script("release_guard"), both, *arguments))

        return release

    async def evict(self, session_id: UUID, tenant_id: UUID | None) -> bool:
        """Remove a session's copy, if it is this tenant's; return whether there was one."""
        key = self._key(session_id, tenant_id)

        async def evict(connection: Connection) -> bool:
            return bool(await connection.run(_script("evict"), key, str(tenant_id or "")))

        return await self._attempt(key, evict, False)

    def _key(self, session_id: UUID, tenant_id: UUID | None) -> str:
        """Return the key of a session's copy; the tenant is given where ids are unique per tenant."""
        named = OfTenant(tenant_id, session_id) if self._by_tenant and tenant_id else session_id
        return f"{keys.bucket(named)}copy:{named}"

    def _keys(self, guard: Guard) -> tuple[str, str]:
        """Return the keys of the copy and of the guard."""
        bucket, named = keys.bucket(guard.session_id), str(OfTenant(guard.tenant_id, guard.session_id))
        return f"{bucket}copy:{named if self._by_tenant else guard.session_id}", f"{bucket}guard:{named}"

    async def _attempt(self, key: str, work: Callable[[Connection], Awaitable[T]], otherwise: T) -> T:
        async def identified(connection: Connection) -> T:
            await self._identities.check(connection)
            return await work(connection)

        if self.breaker.skips():
            return otherwise
        attempt, left = None, _seconds_left()
        try:
            async with Timeout(_SHARE_WHEN_LATE * left) as timeout, self._connections:
                attempt = self.breaker.attempt()
                if attempt is None:
                    return otherwise
                timeout.expect_answer_within(min(self._timeout, _SHARE * left))
                result = await self._servers.on(key, identified)
        except Exception as error:  # noqa: BLE001  (the system of record answers instead)
            code = (isinstance(error, StoreError) and error.code) or type(error).__name__
            if code == "WRONGTYPE":
                self._count_garbage(code)
                return otherwise
            self.breaker.count(code)
            _log.warning("hot tier failed: %s", code, extra={"store": "session", "code": "hot"})
            # While a slot moves key by key, it takes no scripts of two keys; other slots do.
            if attempt is not None and code != "TRYAGAIN":
                attempt.failed()
            return otherwise
        else:
            attempt.succeeded()
            return result
        finally:
            if attempt is not None:
                attempt.ended()

    def _published(self, connection: Connection, value: bytes | None) -> Copy | None:
        """Return the copy in a value, if it was published under the server's present identity.

        Raises:
            ValueError: it cannot be read.
            OverflowError: likewise.
            Unreadable: likewise.
        """
        if value is None or not Copy.is_in(value):
            return None
        found = Copy.parse(value)
        is_valid = self._identities.is_fresh(connection) and found.server == self._identities.last(connection)
        return found if is_valid else None

    def _count_garbage(self, what: str) -> None:
        """Count a value that no store wrote: a miss."""
        self.breaker.count(what)
        _log.warning("hot tier holds garbage: %s", what, extra={"store": "session", "code": "hot"})


def _seconds_left() -> float:
    """Return what is left of the running call's deadline."""
    call = running.get()
    return math.inf if call is None else call.deadline - asyncio.get_running_loop().time()


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1_000)
