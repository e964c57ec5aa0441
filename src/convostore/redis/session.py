"""The session store on Redis or Valkey: a write is one script, a read one command, a list two round trips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from convostore.call.call import current_call
from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.call.health import BackendHealth
from convostore.contracts.session import SessionStore, Swept
from convostore.domain.codec import Unreadable
from convostore.domain.revisions import set_managed
from convostore.domain.sessions import (
    HOT_TTL,
    MAX_AGE,
    check_unbound,
    fence_conflict,
    new_session,
    no_such_session,
    session_id_conflict,
)
from convostore.errors import ConflictError
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.models.fields import now
from convostore.redis import codec
from convostore.redis.background import Background
from convostore.redis.codec import Codec, Header
from convostore.redis.commands import Commands
from convostore.redis.driver import Client
from convostore.redis.identities import find_by_channel, open_or_claim
from convostore.redis.keys import SessionName
from convostore.redis.session_lists import SessionLists
from convostore.redis.sweeping import sweep

_WHOSE = "its header does not say whose it is; a store that is bound to no tenant can delete it"


class RedisSessionStore(SessionStore):
    """Sessions on Redis or Valkey. Both tiers are keys of one server; in the persistent tier the value is compressed.

    Args:
        client: from `create_client`, or any asyncio client of redis-py; the store never closes it.
        hot_ttl: how long a session may be idle before a sweep demotes it.
        max_age: how long after its last activity a sweep deletes a session; None for never.
        dictionaries: from `train_dictionary`, newest first: the first compresses demoted sessions, all decompress.
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
        coalesce: whether concurrent calls share a connection per node, in common round trips.
        sessions_by_tenant: whether a session id is unique per tenant alone, so that every call must name the tenant.
            All stores on the same keys must agree: one finds nothing of what the other has saved.

    Raises:
        ValidationError: one is not a trained dictionary, or two have the same id.
    """

    system = "redis"
    connected = True

    def __init__(
        self,
        client: Client,
        *,
        hot_ttl: timedelta = HOT_TTL,
        max_age: timedelta | None = MAX_AGE,
        dictionaries: Sequence[bytes] = (),
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
        coalesce: bool = True,
        sessions_by_tenant: bool = False,
    ) -> None:
        super().__init__(timeout=timeout, clock=clock, sessions_by_tenant=sessions_by_tenant)
        self._commands = Commands(client, coalesce=coalesce, by_tenant=sessions_by_tenant)
        self._codec = Codec(dictionaries)
        self._hot_ttl = hot_ttl
        self._max_age = max_age
        self._background = Background()
        self._lists = SessionLists(self._commands, self._codec, self._background)

    async def get(
        self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0
    ) -> Session | None:
        name = self._commands.name(session_id, tenant_id)
        value = await self._commands.value(name)
        session = self._codec.decode(value, tenant_id, name) if value else None
        if session is not None and value is not None and codec.is_demoted(value):
            self._background.start(self._move_read(name, value, codec.PLAIN))
        return session

    async def save(self, session: Session, *, overwrite: bool = False, fence: int | None = None) -> UUID:
        await self._write(session, overwrite=overwrite, fence=fence)
        return session.session_id

    async def _write(
        self, session: Session, *, overwrite: bool = False, fence: int | None = None, until: str = ""
    ) -> bool:
        """Save a session, if it can be saved until a moment in microseconds since 1970; return whether it was."""
        name, pointer = self._commands.name_of(session), codec.pointer_of(session)
        now = codec.microseconds(self._clock())
        arguments = (
            *(session.revision, int(overwrite), str(session.tenant_id), str(current_call().write_id), now),
            *(codec.header_tail(session), codec.payload(session), "" if fence is None else fence, until),
        )
        # The pointers are in another slot than the session. They are written first and verified on read, so a saved
        # session is always found.
        point = ("ZADD", pointer.key, -now, pointer.member(name))
        verdict, before, after = await self._commands.run("save", name, *arguments, after=point)
        if verdict == b"unreadable":
            await self._commands.repair_pointer(pointer, name, -now)
            raise Unreadable("session", name)
        stored = Header.parsed(before)
        if verdict == b"saved":
            header = Header.parse(after)
            if stored is not None and stored.pointer != pointer:
                await self._commands.repair_pointer(stored.pointer, name, stored.score)
            set_managed(
                session,
                revision=header.revision,
                created_at=header.created_at,
                last_activity_at=header.last_activity_at,
            )
            return True
        instead = stored.score if stored is not None and stored.pointer == pointer else None
        await self._commands.repair_pointer(pointer, name, -now, instead)
        if verdict == b"late":
            return False
        if verdict == b"foreign":
            raise session_id_conflict()
        if verdict == b"fenced":
            raise fence_conflict()
        raise ConflictError(
            "session: the stored revision is another", current_revision=stored.revision if stored else None
        )

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        name = self._commands.name(session_id, tenant_id)
        verdict, line = await self._commands.run("delete", name, str(tenant_id or ""), "")
        if verdict == b"unreadable":
            raise Unreadable("session", name, why=_WHOSE)
        if header := Header.parsed(line):
            await self._commands.repair_pointer(header.pointer, name, header.score)
        return bool(verdict == b"deleted")

    async def get_by_channel(
        self, tenant_id: UUID, channel: Channel, user_channel_id: str, *, agent_id: UUID | None = None
    ) -> Session | None:
        return await find_by_channel(self._commands, self._lists.read, (tenant_id, channel, user_channel_id), agent_id)

    async def get_or_create(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        channel: Channel,
        user_channel_id: str,
        *,
        customer_profile_id: UUID | None = None,
        config_version: int = 1,
    ) -> tuple[Session, bool]:
        created = new_session(
            current_call().write_id,
            tenant_id,
            agent_id,
            channel,
            user_channel_id,
            customer_profile_id=customer_profile_id,
            config_version=config_version,
        )
        while True:
            found = await open_or_claim(self._commands, self._lists.read, created)
            if isinstance(found, Session):
                return found, found.session_id == created.session_id
            own = await self._create(created, found)
            if own is not None:
                return own, True

    async def _create(self, session: Session, until: str) -> Session | None:
        """Save a session under its claim and return it; None if it is too late for that.

        If an earlier attempt of the call has saved it, the session is returned as it is by now.
        """
        try:
            return session if await self._write(session, until=until) else None
        except ConflictError as conflict:
            name = self._commands.name_of(session)
            value = await self._commands.value(name)
            stored = self._codec.decode(value, session.tenant_id, name) if value else None
            if stored is None and conflict.current_revision is None:
                raise
            return stored

    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        return await self._lists.by_agent(tenant_id, agent_id, status, limit, offset, after)

    async def list_by_customer(
        self,
        tenant_id: UUID,
        customer_profile_id: UUID,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        return await self._lists.by_customer(tenant_id, customer_profile_id, limit, offset, after)

    async def find_sessions_by_step_hash(
        self,
        tenant_id: UUID,
        scenario_id: UUID,
        scenario_version: int,
        step_content_hash: str,
        scope_filter: ScopeFilter | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        after: Session | None = None,
    ) -> list[Session]:
        step = scenario_id, scenario_version, step_content_hash
        return await self._lists.at_step(tenant_id, step, scope_filter, self._clock(), limit, offset, after)

    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        name, milliseconds, tenant = (
            self._commands.name(session_id, tenant_id),
            round(ttl * 1_000),
            str(tenant_id or ""),
        )
        token: int = await self._commands.run("acquire_lock", name, str(owner), milliseconds, tenant)
        if token == -1:
            raise no_such_session()
        if token == -2:
            raise Unreadable("session", name)
        return token or None

    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        name = self._commands.name(session_id, tenant_id)
        return bool(await self._commands.run("release_lock", name, str(owner), str(tenant_id or "")))

    async def sweep(self, *, limit: int = 1_000) -> Swept:
        check_unbound(self._tenant)
        now = self._clock()
        old_since = None if self._max_age is None else now - self._max_age
        idle_since = now - self._hot_ttl
        return await sweep(self._commands, self._codec, idle_since=idle_since, old_since=old_since, limit=limit)

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self._move(session_id, tenant_id, codec.PLAIN)

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self._move(session_id, tenant_id, codec.COMPRESSED)

    async def aclose(self) -> None:
        await self._background.drain()

    async def _ping(self) -> None:
        await self._commands.ping()

    async def _health(self) -> dict[str, BackendHealth]:
        return {
            "redis": await self._examined(self._commands.versions, lambda found: BackendHealth(ok=True, version=found))
        }

    async def _move(self, session_id: UUID, tenant_id: UUID | None, target: bytes) -> bool:
        name = self._commands.name(session_id, tenant_id)
        value = await self._commands.value(name)
        return await self._move_read(name, value, target, tenant_id) if value else False

    async def _move_read(self, name: SessionName, value: bytes, target: bytes, tenant_id: UUID | None = None) -> bool:
        """Move a session unless it was saved, moved or deleted since its value was read, or is another tenant's."""
        move = self._codec.move(value, target, name, tenant_id)
        script = "demote" if target == codec.COMPRESSED else "promote"
        return move is not None and bool(await self._commands.run(script, name, *move))
