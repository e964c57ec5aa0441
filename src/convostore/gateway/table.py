"""The table gateway: what a backend does with the rows of one declaration. The stores on it are written once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from convostore.call.store import Store
from convostore.domain.declaration import Declaration
from convostore.errors import ValidationError
from convostore.models.base import Model
from convostore.models.fields import LANGUAGES, Language

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Window:
    """Matches `since <= column AND column < until`; None leaves a side open."""

    since: datetime | None
    until: datetime | None


@dataclass(frozen=True)
class Started:
    """Matches `column IS NULL OR column <= at`: valid since before `at`, NULL meaning always."""

    at: datetime


@dataclass(frozen=True)
class NotEnded:
    """Matches `column IS NULL OR column > at`: valid until after `at`, NULL meaning for ever."""

    at: datetime


def valid_at(moment: datetime | None) -> Where:
    """Return the filter of the rows that are valid at a moment; None filters nothing."""
    return {} if moment is None else {"valid_from": Started(moment), "valid_to": NotEnded(moment)}


Where = Mapping[str, Any]
"""Columns and the values they must equal, or a `Window`, `Started` or `NotEnded` they must match; None matches any."""


class Table(Protocol[M]):
    """The rows of one declaration. Softly deleted rows are invisible to everything but `restore`.

    Writes set the store-managed fields of the items they are given.
    """

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
        """Return the rows that match, in the declared order or in another.

        `after` is the cursor of keyset pagination: only rows behind it are returned. It need not be stored any more.
        """

    async def count(self, tenant_id: UUID, where: Where) -> int:
        """Return the number of rows that match."""

    async def add(self, item: M, **defaults: Any) -> None:
        """Insert a row, with these values of fields that it leaves to the store.

        The same content under the same key is a no-op, with any value of a field that the item leaves to the store.

        Raises:
            ConflictError: the key exists with other content, or a unique set is violated.
            NotFoundError: a parent does not exist.
        """

    async def add_all(self, items: Sequence[M], **defaults: Any) -> None:
        """Insert rows of one tenant, all or none, each as `add` does.

        Raises:
            ConflictError: a key exists with other content, and the message names it; or a unique set is violated.
            NotFoundError: a parent does not exist.
        """

    async def save(self, item: M, *, overwrite: bool) -> None:
        """Upsert a row as a compare-and-set on its revision, or with `overwrite` whatever revision is stored.

        Raises:
            ConflictError: another revision is stored, the row is deleted, or a unique set is violated.
            NotFoundError: a parent does not exist.
        """

    async def save_all(self, items: Sequence[M], *, overwrite: bool) -> None:
        """Upsert rows of one tenant, all or none, each under the conditions of `save`.

        Raises:
            ValidationError: a key stands twice in the list.
            ConflictError: as for `save`, of the first item refused; or two items have the same values of a unique set.
        """

    async def delete(self, tenant_id: UUID, **where: Any) -> bool:
        """Delete the row with these values, softly if so declared; return whether it existed."""

    async def restore(self, tenant_id: UUID, **where: Any) -> bool:
        """Restore the most recently deleted row with these values; return whether there was one.

        Raises:
            ConflictError: a unique set is violated.
        """


class Tables(Store):
    """A store that has a table for each of its declarations.

    Args:
        language: reads texts that name no text search configuration themselves.
        options: see `Store`.
    """

    def __init__(self, *, language: Language = "simple", **options: Any) -> None:
        super().__init__(**options)
        if language not in LANGUAGES:
            raise ValidationError(f"language: must be one of {', '.join(LANGUAGES)}")
        self._language = language

    @abstractmethod
    def _table(self, declaration: Declaration[M]) -> Table[M]:
        """Return the table of a declaration."""
