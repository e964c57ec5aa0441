"""The waist: what a backend does with one entity. Every store method that is not special is written once above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Started:
    """What a time that had come at a moment fits; None had always come."""

    at: datetime


@dataclass(frozen=True)
class NotEnded:
    """What a time that had not yet come at a moment fits; None never comes."""

    at: datetime


def valid_at(moment: datetime | None) -> Where:
    """Return what the rows that are valid at a moment have in common; None means nothing."""
    return {} if moment is None else {"valid_from": Started(moment), "valid_to": NotEnded(moment)}


Where = Mapping[str, Any]
"""Column to value. None means any value, a `Window` a span of time, `Started` and `NotEnded` a side of a moment."""


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
        after: M | None = None,
    ) -> list[M]:
        """Return the rows with these values in the declared order, or in another; only those behind `after` in it."""

    async def count(self, tenant_id: UUID, where: Where) -> int:
        """Return how many rows have these values."""

    async def add(self, item: M) -> None:
        """Insert a row and set the item's store-managed fields. The same content under the same key does nothing.

        Raises:
            ConflictError: the key or a unique set is taken.
        """

    async def add_all(self, items: Sequence[M]) -> None:
        """Insert rows of one tenant, all or none, and set their store-managed fields. What is there does nothing.

        Raises:
            ConflictError: a key or a unique set is taken; of a key, the message names it.
        """

    async def save(self, item: M, *, overwrite: bool) -> None:
        """Insert a row, or replace it if its revision is the item's (or `overwrite`), and set its managed fields.

        Raises:
            ConflictError: the revision is another, the row was deleted, or the key or a unique set is taken.
        """

    async def save_all(self, items: Sequence[M], *, overwrite: bool) -> None:
        """Save items of one tenant, all or none, each as if it were saved alone, and set their managed fields.

        Raises:
            ValidationError: a key stands twice in the list.
            ConflictError: as for `save`, of the first item that is refused; or two want the same of a unique set.
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
