"""The waist: what a backend does with one entity. Every store method that is not special is written once above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from convostore.models.base import Model

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Window:
    """A half-open span of time to filter by: `since` ≤ value < `until`; None is open."""

    since: datetime | None
    until: datetime | None


Where = Mapping[str, Any]
"""Column to value. None means any value, a `Window` a span of time."""


class Table(Protocol[M]):
    """The rows of one entity. What is softly deleted is invisible to everything but `restore` and `purge`."""

    async def get(self, tenant_id: UUID, **where: Any) -> M | None:
        """Return the row with these values, or None."""

    async def find(
        self,
        tenant_id: UUID,
        where: Where,
        *,
        limit: int | None = None,
        offset: int = 0,
        order: tuple[str, ...] | None = None,
    ) -> list[M]:
        """Return the rows with these values in the declared order, or in another."""

    async def count(self, tenant_id: UUID, where: Where) -> int:
        """Return how many rows have these values."""

    async def add(self, item: M) -> None:
        """Insert a row and stamp the item. The same content under the same key does nothing.

        Raises:
            ConflictError: the key or a unique set is taken.
        """

    async def save(self, item: M, *, overwrite: bool) -> None:
        """Insert a row, or replace it if its revision is the item's (or `overwrite`), and stamp the item.

        Raises:
            ConflictError: the revision is another, the row was deleted, or the key or a unique set is taken.
        """

    async def delete(self, tenant_id: UUID, **where: Any) -> bool:
        """Delete the row with these values, softly if so declared; return whether it was there."""

    async def restore(self, tenant_id: UUID, **where: Any) -> bool:
        """Bring back the row with these values that was deleted last; return whether there was one.

        Raises:
            ConflictError: a unique set is taken by now.
        """

    async def purge(self, tenant_id: UUID, before: datetime) -> int:
        """Remove the rows deleted before a moment for good; return how many."""
