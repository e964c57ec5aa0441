"""What the in-memory stores share: their tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

from convostore.call.deadlines import DEFAULT_TIMEOUT
from convostore.call.store import Store
from convostore.domain.declaration import Declaration
from convostore.inmemory.table import InMemoryTable
from convostore.models.base import Model
from convostore.models.fields import now

M = TypeVar("M", bound=Model)


class InMemoryStore(Store):
    """A store whose tables are dictionaries.

    Args:
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
        options: of what is written above tables.
    """

    system = "memory"

    def __init__(
        self, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], datetime] = now, **options: Any
    ) -> None:
        super().__init__(timeout=timeout, clock=clock, **options)
        self._tables: dict[str, InMemoryTable[Any]] = {}

    def _table(self, declaration: Declaration[M]) -> InMemoryTable[M]:
        if declaration.name not in self._tables:
            self._tables[declaration.name] = InMemoryTable(declaration, self._clock, self._tables)
        return cast("InMemoryTable[M]", self._tables[declaration.name])
