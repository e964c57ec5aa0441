"""Lists of sessions: pages of indexes, without what cannot be read or does not belong to the list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from convostore.domain.codec import readable
from convostore.domain.scopes import check_scope_filter, in_scope
from convostore.models import ScopeFilter, Session, SessionStatus
from convostore.redis import codec, keys
from convostore.redis.background import Background
from convostore.redis.codec import Codec
from convostore.redis.commands import Commands, checked_value, on
from convostore.redis.index_pages import Entry, Union
from convostore.redis.keys import SessionName

_SCOPED, _MOST = 100, 1_000
"""How many sessions a search by step reads at a time: at least, and at most."""


class SessionLists:
    """The lists of `RedisSessionStore`, most recent first.

    Args:
        commands: the client.
        codec: decodes the sessions.
        background: removes from the indexes what is not there.
    """

    def __init__(self, commands: Commands, codec: Codec, background: Background) -> None:
        self._commands = commands
        self._codec = codec
        self._background = background

    async def by_agent(
        self,
        tenant_id: UUID,
        agent_id: UUID,
        status: SessionStatus | None,
        limit: int,
        offset: int,
        after: Session | None,
    ) -> list[Session]:
        """As `SessionStore.list_by_agent`."""
        statuses = [status] if status else list(SessionStatus)
        union = Union(keys.agent_index(tenant_id, agent_id, ""), tuple(statuses))

        def belongs(session: Session) -> bool:
            return session.agent_id == agent_id and session.status in statuses

        return await self._page(tenant_id, union, belongs, limit, offset, after)

    async def by_customer(
        self, tenant_id: UUID, customer_profile_id: UUID, limit: int, offset: int, after: Session | None
    ) -> list[Session]:
        """As `SessionStore.list_by_customer`."""
        union = Union(keys.customer_index(tenant_id, customer_profile_id))

        def belongs(session: Session) -> bool:
            return session.customer_profile_id == customer_profile_id

        return await self._page(tenant_id, union, belongs, limit, offset, after)

    async def at_step(
        self,
        tenant_id: UUID,
        step: tuple[UUID, int, str],
        scope_filter: ScopeFilter | None,
        moment: datetime,
        limit: int | None,
        offset: int,
        after: Session | None,
    ) -> list[Session]:
        """As `SessionStore.find_sessions_by_step_hash`: a step of a scenario's version, and the filter at a moment."""
        check_scope_filter(scope_filter)
        index = keys.step_index(tenant_id, *step)
        wanted = sys.maxsize if limit is None else offset + limit

        def belongs(session: Session) -> bool:
            return index in keys.indexes_of(session) and in_scope(session, scope_filter, moment)

        # The scope filters what was read: a page of the index may have few of the sessions that are wanted.
        size = min(max(wanted, _SCOPED), _MOST)
        return (await self._page(tenant_id, Union(index), belongs, wanted, 0, after, size))[offset:]

    def read(self, values: Iterable[tuple[SessionName, Any]], tenant_id: UUID) -> Iterator[Session]:
        """Yield the tenant's sessions in replies; those that cannot be read are logged and left out."""

        def read(item: tuple[SessionName, Any]) -> Session | None:
            name, reply = item
            value = checked_value(name, reply)
            return None if value is None else self._codec.decode(value, tenant_id, name)

        return (session for session in readable(read, values) if session is not None)

    async def _page(
        self,
        tenant_id: UUID,
        union: Union,
        belongs: Callable[[Session], bool],
        limit: int,
        offset: int,
        after: Session | None,
        size: int | None = None,
    ) -> list[Session]:
        """Return a page of a list by reading the index in pages of `size`, or of `limit`.

        What cannot be read or does not belong to the list is made up for by what follows it.
        """
        found: list[Session] = []
        last = (
            None
            if after is None
            else Entry(-codec.microseconds(after.last_activity_at), self._commands.name(after.session_id, tenant_id))
        )
        while True:
            page = await union.page(self._commands, size or limit, offset, last)
            self._forget(page.values, union.names)
            found += filter(belongs, self.read(page.values, tenant_id))
            if page.last is None or len(found) >= limit:
                return sorted(found, key=codec.recency)[:limit]
            last, offset = page.last, 0

    def _forget(self, values: Iterable[tuple[SessionName, Any]], indexes: list[str]) -> None:
        """Remove those sessions from indexes that do not exist: a deletion could not read in which they were."""
        missing = [name for name, reply in values if reply is None]
        if missing:
            calls = [on("forget", name, "|".join(indexes)) for name in missing]
            self._background.start(self._commands.run_all(calls))
