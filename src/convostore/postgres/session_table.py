"""The table of sessions: saves may check a fencing token and increment the generation of hot copies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import asyncpg

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import SESSION
from convostore.domain.sessions import fence_conflict
from convostore.models import Session
from convostore.postgres.database import DEADLINE, Database
from convostore.postgres.mapping import RowMapping
from convostore.postgres.queries import queries
from convostore.postgres.statements import Statements
from convostore.postgres.table import PostgresTable


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


class InvalidatingStatements(SessionStatements):
    """Saves that also increment the generation of the tenant's hot copies."""

    def _save_new(self) -> str:
        return self._invalidating(super()._save_new())

    def _save_next(self) -> str:
        return self._invalidating(super()._save_next())

    def _invalidating(self, save: str) -> str:
        return f"WITH invalidated AS ({queries('session').invalidate_copies.sql}) {save}"


class SessionTable(PostgresTable[Session]):
    """The rows of sessions."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        super().__init__(SESSION, database, clock)
        self._invalidating = InvalidatingStatements(SESSION, self.mapping)

    async def save(self, item: Session, *, overwrite: bool) -> None:
        await self.write(item, overwrite=overwrite, fence=None, invalidate_copies=False)

    async def write(self, session: Session, *, overwrite: bool, fence: int | None, invalidate_copies: bool) -> None:
        """Save a session; see `SessionStore.save` and `SystemOfRecord.write`."""
        statements = self._invalidating if invalidate_copies else self._statements
        await self._save(session, statements, fence, DEADLINE, overwrite=overwrite)

    def _make_statements(self, declaration: Declaration[Session], mapping: RowMapping[Session]) -> Statements:
        return SessionStatements(declaration, mapping)

    def _check_further(self, state: asyncpg.Record | None, *further: Any) -> None:
        fence, _ = further
        if state and fence is not None and state["fence"] > fence:
            raise fence_conflict()
