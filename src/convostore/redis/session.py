"""The session store on Redis or Valkey: one script per write, one command per read, two round trips per list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, cast
from uuid import UUID

import redis.asyncio as aio
from redis.exceptions import NoScriptError, RedisError

from convostore.contracts.session import SessionStore
from convostore.core.boundary import DEFAULT_TIMEOUT, current_write_id
from convostore.core.entities import stamp
from convostore.core.scope import check_supported, matches
from convostore.errors import ConflictError, StoreError
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.models.fields import now
from convostore.redis import codec, keys
from convostore.redis.codec import Header
from convostore.redis.errors import translated
from convostore.redis.scripts import Script, script

_CANDIDATES = 16
"""How many sessions of a channel identity are looked at in one trip: one is wanted, and few entries are stale."""


class RedisSessionStore(SessionStore):
    """Sessions on Redis or Valkey, all in one place: the tiers differ in whether the value is compressed.

    Args:
        client: from `create_client`, or any asyncio client that returns bytes; the store never closes it.
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
    """

    system = "redis"

    def __init__(
        self, client: aio.Redis, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], datetime] = now
    ) -> None:
        super().__init__(timeout=timeout, clock=clock)
        self._client = client

    async def get(self, session_id: UUID, *, tenant_id: UUID | None = None) -> Session | None:
        value: bytes | None = await cast("Any", self._client.get(keys.value_key(session_id)))
        return codec.decoded(value, tenant_id) if value else None

    async def save(self, session: Session, *, overwrite: bool = False) -> UUID:
        session_id, channel, state = session.session_id, keys.channel_of(session), codec.state_of(session)
        now = codec.microseconds(self._clock())
        arguments = (
            *(keys.bucket(session_id), str(session_id), session.revision, int(overwrite), str(session.tenant_id)),
            *(str(current_write_id()), now, codec.header_tail(session), codec.payload(session)),
        )
        # The pointers live in another slot than the session. They are written before it and checked when they are read,
        # so that a session which was saved is always found.
        pipeline = self._pipeline()
        pipeline.zadd(f"{channel}{state}", {str(session_id): -now})
        verdict, before, after = await self._run(script("save"), keys.value_key(session_id), arguments, pipeline)
        stored = Header.parsed(before) if before else None
        if verdict == b"saved":
            header = Header.parsed(after)
            if stored is not None and stored.pointer != header.pointer:
                await self._mend_pointer(stored.pointer, session_id, stored.score)
            stamp(
                session,
                revision=header.revision,
                created_at=header.created_at,
                last_activity_at=header.last_activity_at,
            )
            return session_id
        instead = stored.score if stored is not None and stored.pointer == f"{channel}{state}" else None
        await self._mend_pointer(f"{channel}{state}", session_id, -now, instead)
        if verdict == b"taken":
            raise ConflictError("session: the session id is taken")
        raise ConflictError(
            "session: the stored revision is another", current_revision=stored.revision if stored else None
        )

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        arguments = (keys.bucket(session_id), str(session_id), str(tenant_id or ""))
        line = await self._run(script("delete"), keys.value_key(session_id), arguments)
        if not line:
            return False
        header = Header.parsed(line)
        await self._mend_pointer(header.pointer, session_id, header.score)
        return True

    async def get_by_channel(self, tenant_id: UUID, channel: Channel, user_channel_id: str) -> Session | None:
        index = keys.channel_index(tenant_id, channel, user_channel_id)
        start = 0
        while True:
            pipeline = self._pipeline()
            for state in ("open", "closed"):
                pipeline.zrange(f"{index}{state}", start, start + _CANDIDATES - 1)
            listed = await pipeline.execute()
            candidates = [member for members in listed for member in members]
            found = [
                session for session in await self._load(candidates, tenant_id) if keys.channel_of(session) == index
            ]
            if found or not candidates:
                break
            start += _CANDIDATES
        found.sort(key=lambda session: (session.status is SessionStatus.CLOSED, *_recency(session)))
        return found[0] if found else None

    async def list_by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        status: SessionStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Session]:
        statuses = [status] if status else list(SessionStatus)
        indexes = [keys.agent_index(tenant_id, agent_id, item) for item in statuses]
        sessions = await self._listed(tenant_id, indexes, limit, offset)
        return [item for item in sessions if item.agent_id == agent_id and item.status in statuses]

    async def list_by_customer(
        self, tenant_id: UUID, customer_profile_id: UUID, *, limit: int = 100, offset: int = 0
    ) -> list[Session]:
        index = keys.customer_index(tenant_id, customer_profile_id)
        sessions = await self._listed(tenant_id, [index], limit, offset)
        return [session for session in sessions if session.customer_profile_id == customer_profile_id]

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
    ) -> list[Session]:
        check_supported(scope_filter)
        index = keys.step_index(tenant_id, scenario_id, scenario_version, step_content_hash)
        pipeline = self._pipeline()
        for bucket in keys.BUCKETS:
            pipeline.smembers(f"{bucket}{index}")
        members = [member for listed in await pipeline.execute() for member in listed]
        moment = self._clock()
        found = [
            session
            for session in await self._load(members, tenant_id)
            if index in keys.indexes_of(session) and matches(session, scope_filter, moment)
        ]
        found.sort(key=_recency)
        return found[offset:][:limit]

    async def promote_to_hot(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self._move(session_id, tenant_id, codec.PLAIN)

    async def demote_to_persistent(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        return await self._move(session_id, tenant_id, codec.COMPRESSED)

    async def _ping(self) -> None:
        await self._client.ping()

    def _translate(self, error: Exception) -> StoreError:
        return translated(error) if isinstance(error, RedisError) else super()._translate(error)

    async def _move(self, session_id: UUID, tenant_id: UUID | None, target: bytes) -> bool:
        key = keys.value_key(session_id)
        value: bytes | None = await cast("Any", self._client.get(key))
        if not value:
            return False
        line, _, rest = value.partition(b"\n")
        header = Header.parsed(line)
        moved = codec.recoded(value, target)
        if moved is None or tenant_id not in (None, header.tenant_id):
            return False
        score = "" if target == codec.COMPRESSED else header.score
        arguments = (keys.bucket(session_id), str(session_id), line, rest[:1], moved, score)
        return bool(await self._run(script("move"), key, arguments))

    async def _listed(self, tenant_id: UUID, indexes: Iterable[str], limit: int, offset: int) -> list[Session]:
        """Return a page of the sessions that stand in sorted indexes of all buckets, most recent first."""
        pipeline = self._pipeline()
        for index in indexes:
            for bucket in keys.BUCKETS:
                pipeline.zrange(f"{bucket}{index}", 0, offset + limit - 1, withscores=True)
        entries = merge(*([(score, member) for member, score in listed] for listed in await pipeline.execute()))
        members = [member for _, member in islice(entries, offset, offset + limit)]
        sessions = await self._load(members, tenant_id)
        sessions.sort(key=_recency)
        return sessions

    async def _load(self, members: Iterable[bytes], tenant_id: UUID) -> list[Session]:
        """Return the tenant's sessions of these ids that are still there."""
        pipeline = self._pipeline()
        for member in members:
            pipeline.get(keys.value_key(UUID(member.decode())))
        values = await pipeline.execute() if len(pipeline) else []
        decoded = (codec.decoded(value, tenant_id) for value in values if value)
        return [session for session in decoded if session is not None]

    async def _run(self, called: Script, key: str, arguments: Iterable[Any], pipeline: Any = None) -> Any:
        """Run a script as the last command of a pipeline; load it first if the server does not know it."""
        queued = self._pipeline() if pipeline is None else pipeline
        queued.evalsha(called.sha, 1, key, *arguments)
        *_, result = await queued.execute(raise_on_error=False)
        if isinstance(result, NoScriptError):
            return await cast("Any", self._client.eval(called.text, 1, key, *arguments))
        if isinstance(result, Exception):
            raise result
        return result

    def _pipeline(self) -> Any:
        return self._client.pipeline(transaction=False)

    async def _mend_pointer(self, key: str, session_id: UUID, score: int, instead: int | None = None) -> None:
        """Remove a session's pointer or give it another score, unless another save has touched it meanwhile."""
        await self._run(script("mend"), key, (str(session_id), score, "" if instead is None else instead))


def _recency(session: Session) -> tuple[float, UUID]:
    return -codec.microseconds(session.last_activity_at), session.session_id
