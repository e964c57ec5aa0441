"""Revisions and uniqueness: what a save must find, what it sets, and the conflicts it meets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from convostore.domain.declaration import Declaration, Unique
from convostore.errors import ConflictError, ValidationError
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


class RevisionState(NamedTuple):
    """The revision of a stored row, and whether the row is soft-deleted."""

    revision: int
    deleted: bool


def same_content(stored: M, given: M, declaration: Declaration[M]) -> bool:
    """Return whether a row that is given again has the content that is stored; what it leaves to the store agrees."""
    return all(
        getattr(stored, name) == getattr(given, name) or (name in given.defaulted and getattr(given, name) is None)
        for name in declaration.content
    )


def with_defaults(item: M, defaults: Mapping[str, Any]) -> M:
    """Return an item, or a copy with a store's defaults of the fields that it leaves to the store."""
    values = {name: defaults[name] for name in item.defaulted if getattr(item, name) is None}
    return item.model_copy(update=values) if values else item


def deduplicated(
    items: Iterable[M], declaration: Declaration[M], defaults: Mapping[str, Any]
) -> dict[tuple[Any, ...], M]:
    """Return items by key, without repetitions.

    Raises:
        ConflictError: two have one key and other content.
    """
    found: dict[tuple[Any, ...], M] = {}
    for item in items:
        key = declaration.key_of(item)
        first = found.setdefault(key, item)
        if first is not item and not same_content(with_defaults(first, defaults), item, declaration):
            raise key_conflict(declaration, key)
    return found


def key_conflict(declaration: Declaration[Any], key: tuple[Any, ...]) -> ConflictError:
    """Return the error of a key that exists with other content."""
    message = f"{declaration.name}: {', '.join(map(str, key))} exists with other content"
    conflict = ConflictError(message, code=f"{declaration.name}_pkey")
    conflict._key = key
    return conflict


def check_save(declaration: Declaration[M], item: M, stored: RevisionState | None, *, overwrite: bool) -> None:
    """Check that an item may be saved where this is stored.

    Raises:
        ConflictError: what is stored was deleted, or has another revision than the item.
    """
    which = f"{declaration.name} {', '.join(map(str, declaration.key_of(item)))}"
    current = stored.revision if stored else None
    if stored and stored.deleted:
        raise ConflictError(f"{which}: it was deleted", current_revision=current)
    if not overwrite and item.__dict__["revision"] != (current or 0):
        raise ConflictError(f"{which}: the stored revision is another", current_revision=current)


def check_saved(
    declaration: Declaration[M], item: M, refused: str | None, revision: int | None, *, overwrite: bool
) -> None:
    """Check that nothing has refused an item that was saved with others.

    Args:
        declaration: of the items.
        item: one of them.
        refused: why it was: `deleted`, `revision`, the name of a unique set, or None.
        revision: of what is stored.
        overwrite: whether the revision did not matter.

    Raises:
        ConflictError: it was refused.
    """
    if refused in ("deleted", "revision"):
        stored = None if revision is None else RevisionState(revision, refused == "deleted")
        check_save(declaration, item, stored, overwrite=overwrite)
    for unique in declaration.unique:
        if refused == declaration.constraint(unique):
            raise unique_conflict(declaration, unique, item)


def check_distinct(items: Sequence[M], declaration: Declaration[M]) -> None:
    """Check that no two items of a list want the same key or the same values of a unique set.

    Raises:
        ValidationError: two have one key.
        ConflictError: two want the same values.
    """
    if len({declaration.key_of(item) for item in items}) < len(items):
        raise ValidationError(f"{declaration.name}: an id stands twice in the list")
    for unique in declaration.unique:
        wanted: set[tuple[Any, ...]] = set()
        for item in filter(unique.counts, items):
            values = unique.values_of(item)
            if values in wanted:
                raise unique_conflict(declaration, unique, item)
            wanted.add(values)


def unique_conflict(declaration: Declaration[M], unique: Unique, item: M) -> ConflictError:
    """Return the error that says that another living row has an item's values of a unique set."""
    which = f"{declaration.name} {', '.join(map(str, declaration.key_of(item)))}"
    return ConflictError(f"{which}: its {', '.join(unique.columns)} is in use", code=declaration.constraint(unique))


def set_managed(model: Model, **values: Any) -> None:
    """Set fields that a store sets, past assignment checks: the values are the store's own."""
    model.__dict__.update(values)


def take_over(item: M, stored: M) -> None:
    """Set the fields of an item that a store sets to those that are stored."""
    set_managed(item, **{name: getattr(stored, name) for name in item.store_managed + item.defaulted})


def managed_values(model: Model, *, revision: int, created_at: datetime | None, now: datetime) -> dict[str, Any]:
    """Return what a save sets on a model: the next revision after `revision`, and the times it has.

    Args:
        model: the model that is saved.
        revision: the stored revision, 0 if there is none.
        created_at: when the stored one was created, None if there is none.
        now: the moment of the save.
    """
    values = {
        "revision": revision + 1,
        "created_at": created_at or now,
        "updated_at": now,
        "last_activity_at": now,
        "deleted_at": None,
        "merged_into": None,
    }
    return {name: values[name] for name in model.store_managed}
