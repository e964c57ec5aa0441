"""The table of sessions: saves that check fencing tokens and invalidate hot copies; one open session per identity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.domain.declaration import Declaration, tenant_of
from convostore.domain.declarations import SESSION
from convostore.domain.revisions import managed_values, set_managed
from convostore.domain.sessions import fence_conflict
from convostore.errors import StoreError
from convostore.models import Session
from convostore.postgres.database import DEADLINE, Database
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.queries import queries
from convostore.postgres.statements import Statements, ordering
from convostore.postgres.table import PostgresTable
from convostore.postgres.tenancy import BOUND
from convostore.postgres.transaction import in_transaction


class SessionStatements(Statements):
    """Saves with a fencing token, NULL is not checked, and the deadline as last parameters."""

    _more_state = ", coalesce(t.fence, 0) AS fence"

    def _further(self, number: int) -> str:
        return f" AND (${number}::bigint IS NULL OR coalesce(t.fence, 0) <= ${number})"

    def _save_new(self) -> str:
        return f"{super()._save_new()}{self._in_time(len(self._mapping.columns) + 5)}"

    def _save_next(self) -> str:
        return f"{super()._save_next()}{self._in_time(len(self._declaration.key) + len(self.replaced) + 5)}"

    def _in_time(self, number: int) -> str:
        """Return the column that ends a save whose deadline has passed, once it has the row's lock."""
        return f", convostore.in_time(${number}::timestamptz)"

    def load_or_create(self) -> str:
        """SELECT the open session of an identity and agent, else INSERT one; no row if another call has meanwhile.

        The row of `session_identity` names the session that was created last. Creating one is a compare-and-set on it:
        of two calls with the same snapshot the second waits for the first, and finds another session named than it saw.

        Parameters: tenant, columns, write id, deadline. Returns the columns and the generation of hot copies.
        """
        columns, types = self._mapping.columns, self._mapping.types
        given = {column: f"${number}::{types[column]}" for number, column in enumerate(columns, 2)}
        write_id, deadline = f"${len(columns) + 2}::uuid", f"${len(columns) + 3}::timestamptz"
        bound, identity = "(TABLE bound) AND t.tenant_id = $1", ("agent_id", "channel", "user_channel_id")
        same = f"{bound} AND {' AND '.join(f't.{column} = {given[column]}' for column in identity)}"
        found = ", ".join(f"t.{quoted(column)}" for column in columns)
        select = f"SELECT {found} FROM {self._table} AS t WHERE"
        own = f"t.session_id = {given['session_id']}"
        return (
            f"WITH {BOUND}, "
            f"found AS MATERIALIZED (({select} {bound} AND {own}) UNION ALL "
            f"({select} {same} AND NOT (t.status = 'closed') ORDER BY {ordering(self._declaration)} LIMIT 1)), "
            f"claimed AS (INSERT INTO convostore.session_identity AS t (tenant_id, {', '.join(identity)}, session_id) "
            f"SELECT $1, {', '.join(given[column] for column in identity)}, {given['session_id']} "
            "WHERE (TABLE bound) AND NOT EXISTS (SELECT FROM found) "
            f"ON CONFLICT (tenant_id, {', '.join(identity)}) DO UPDATE SET session_id = excluded.session_id "
            "WHERE t.session_id = (SELECT t.session_id FROM convostore.session_identity AS t "
            f"WHERE {same}) RETURNING convostore.in_time({deadline})), "
            f"created AS (INSERT INTO {self._table} AS t ({', '.join(map(quoted, columns))}, write_id) "
            f"SELECT {', '.join(given.values())}, {write_id} FROM claimed WHERE (TABLE bound) RETURNING {found}) "
            f"SELECT t.*, coalesce((SELECT e.generation FROM convostore.copy_generation AS e "
            "WHERE (TABLE bound) AND e.tenant_id = $1), 0) AS generation "
            f"FROM (TABLE found UNION ALL TABLE created) AS t ORDER BY {own} DESC LIMIT 1"
        )


class InvalidatingStatements(SessionStatements):
    """Saves that also increment the generation of the tenant's hot copies."""

    def _save_new(self) -> str:
        return self._invalidating(super()._save_new())

    def _save_next(self) -> str:
        return self._invalidating(super()._save_next())

    def _invalidating(self, save: str) -> str:
        return f"WITH invalidated AS ({queries('session').invalidate_copies.sql}) {save}"


class _OtherFirst(StoreError):
    """Another call has created the session of an identity meanwhile."""


class SessionTable(PostgresTable[Session]):
    """The rows of sessions."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        super().__init__(SESSION, database, clock)
        self._invalidating = InvalidatingStatements(SESSION, self.mapping)
        self._load_or_create = SessionStatements(SESSION, self.mapping).load_or_create()

    async def save(self, item: Session, *, overwrite: bool) -> None:
        await self.write(item, overwrite=overwrite, fence=None, invalidate_copies=False)

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        """Save a session; see `SessionStore.save` and `SystemOfRecord.write`."""
        if invalidate_copies and await self._database.is_distributed():
            saved = session.model_copy()
            async with in_transaction(self._database) as database:
                await self.on(database)._save(saved, self._statements, fence, DEADLINE, overwrite=overwrite)
                await database.fetchval(*queries("session").invalidate_copies(tenant_id=tenant_of(session)))
            set_managed(session, **{name: getattr(saved, name) for name in session.store_managed})
            return
        statements = self._invalidating if invalidate_copies else self._statements
        await self._save(session, statements, fence, DEADLINE, overwrite=overwrite)

    async def remove(self, tenant_id: UUID, session_id: UUID, *, invalidate_copies: bool) -> bool:
        """Delete a session where tables are distributed; see `SystemOfRecord.remove`."""
        async with in_transaction(self._database) as database:
            deleted = await self.on(database).delete(tenant_id, session_id=session_id)
            if deleted and invalidate_copies:
                await database.fetchval(*queries("session").invalidate_copies(tenant_id=tenant_id))
        return deleted

    async def load_or_create(self, session: Session) -> tuple[Session, int]:
        """See `SystemOfRecord.load_or_create`."""
        if await self._database.is_distributed():
            return await self._find_or_create(session)
        opening, row = self.opening(session), None
        while row is None:
            # What a concurrent call has created meanwhile is in the next snapshot.
            row = await self._database.fetchrow_in_time(*opening)
        return self.mapping.model(row, tenant_of(session)), row["generation"]

    async def _find_or_create(self, session: Session) -> tuple[Session, int]:
        """As `load_or_create` by several statements: of two that create, the second finds another session named."""
        tenant_id, session_id = tenant_of(session), session.session_id
        identity = {name: getattr(session, name) for name in ("agent_id", "channel", "user_channel_id")}
        whose = {"tenant_id": tenant_id, "session_id": session_id, **identity}
        while True:
            row = await self._database.fetchrow(*queries("session").open_session(**whose))
            assert row is not None
            if row["session_id"] is not None:
                return self.mapping.model(row, tenant_id), row["generation"]
            with suppress(_OtherFirst):
                async with in_transaction(self._database) as database:
                    await self.on(database).add(session.model_copy())
                    claim = queries("session").claim_identity(named=row["named"], **whose)
                    if await database.fetchval(*claim) is None:
                        raise _OtherFirst("session: another call was first")

    def opening(self, session: Session) -> tuple[Any, ...]:
        """Return the statement of `load_or_create`, with its arguments."""
        managed = managed_values(session, revision=0, created_at=None, now=self._clock())
        values = self.mapping.parameters(session.model_copy(update=managed))
        return self._load_or_create, tenant_of(session), *values, current_call().write_id, DEADLINE

    def _make_statements(self, declaration: Declaration[Session], mapping: RowMapping[Session]) -> Statements:
        return SessionStatements(declaration, mapping)

    def _check_further(self, state: asyncpg.Record | None, *further: Any) -> None:
        fence, _ = further
        if state and fence is not None and state["fence"] > fence:
            raise fence_conflict()
