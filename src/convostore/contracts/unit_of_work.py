"""The unit of work: writes of several stores, collected and then applied together."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import pydantic
from pydantic import Field

from convostore.call.logs import log_failure
from convostore.call.validation import ArgumentCheck, FencingToken
from convostore.errors import StoreError, ValidationError
from convostore.models import (
    AuditEvent,
    Entity,
    Episode,
    ProfileAsset,
    ProfileField,
    Relationship,
    Session,
    TurnRecord,
)
from convostore.models.base import Model

F = TypeVar("F", bound=Callable[..., None])

MOST_ITEMS = 10_000
"""How many items a unit of work takes at most."""

_MANY = Field(max_length=MOST_ITEMS)


class Write(NamedTuple):
    """One item of a unit of work.

    Attributes:
        method: which method was given it.
        place: where it stands among all that this method was given, from 0.
        item: the item, checked and copied.
        options: the other arguments, by name.
    """

    method: str
    place: int
    item: Any
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Unit:
    """The writes of a unit of work.

    Attributes:
        tenant_id: the tenant of all of them.
        writes: the writes, in the order in which they were given.
    """

    tenant_id: UUID
    writes: Sequence[Write] = field(repr=False)

    def of(self, *methods: str) -> list[Write]:
        """Return the writes that these methods were given."""
        return [write for write in self.writes if write.method in methods]

    def copied(self) -> Unit:
        """Return the unit with items whose store-managed fields can be set without setting those of this one."""
        return Unit(self.tenant_id, [write._replace(item=write.item.model_copy()) for write in self.writes])


class Committing(Protocol):
    """What commits units of work."""

    async def commit(self, tenant_id: UUID, unit: Unit, *, overwrite: bool = False) -> list[Model]:
        """See `TurnStore.commit`."""


def _collected(method: F) -> F:
    """Let a method check and copy what it is given, at once, and add it to the unit."""
    check = ArgumentCheck(method)

    @functools.wraps(method)
    def collect(self: UnitOfWork, /, *args: Any, **kwargs: Any) -> None:
        self._collect(method.__name__, check, check.named(args, kwargs))

    return collect  # type: ignore[return-value]


class UnitOfWork:
    """Collects writes of one tenant; when its block ends, they are applied together: all or none.

    Each method checks its arguments at once (`ValidationError`) and copies them, as the store's method of the same name
    does. Nothing is sent before the end of the block, and nothing at all if an exception leaves it. Afterwards the
    caller's objects hold what the stores set: revisions, times, defaults. At most 10,000 items.

    Args:
        tenant_id: the tenant of everything that is written.
    """

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id
        self._given: list[Model] = []
        self._writes: list[Write] = []
        self._counts: Counter[str] = Counter()
        self._saved: set[UUID] = set()
        self._ended = False

    @_collected
    def save_session(self, session: Session, *, fence: FencingToken | None = None, overwrite: bool = False) -> None:
        """Save a session, as `SessionStore.save`; each session once in a unit.

        Args:
            session: the session, with the revision it was read with, or 0 if it is new.
            fence: the fencing token of the lock under which the session was worked on.
            overwrite: store it whatever the stored revision is; the unit is not idempotent then.
        """

    @_collected
    def add_episodes(self, episodes: Annotated[list[Episode], _MANY]) -> None:
        """Insert episodes, as `MemoryStore.add_episodes`."""

    @_collected
    def add_entities(self, entities: Annotated[list[Entity], _MANY]) -> None:
        """Insert entities, as `MemoryStore.add_entities`."""

    @_collected
    def add_relationships(self, relationships: Annotated[list[Relationship], _MANY]) -> None:
        """Insert relationships, as `MemoryStore.add_relationships`; also between entities of the same unit."""

    @_collected
    def update_field(self, profile_id: UUID, field: ProfileField) -> None:
        """Set a field of a profile, as `ProfileStore.update_field`."""

    @_collected
    def add_asset(self, profile_id: UUID, asset: ProfileAsset) -> None:
        """Add an asset to a profile, as `ProfileStore.add_asset`."""

    @_collected
    def save_turn(self, turn: TurnRecord) -> None:
        """Record a turn, as `AuditStore.save_turn`."""

    @_collected
    def save_event(self, event: AuditEvent) -> None:
        """Record an event, as `AuditStore.save_event`; one without a session stands in the tenant's own chain."""

    def _collect(self, method: str, check: ArgumentCheck, given: dict[str, Any]) -> None:
        if self._ended:
            raise StoreError("The unit of work has ended; open another.", code="closed")
        # The caller may change a list later.
        given = {name: list(value) if isinstance(value, list) else value for name, value in given.items()}
        try:
            checked = check(given)
            name, items = next((name, items) for name, value in checked.items() if (items := _items_of(value)))
            self._check(method, items)
        except StopIteration:
            return  # an empty list
        except ValidationError as error:
            error.store, error.operation = "turn", method
            error.item = error.item or (method, self._counts[method] + _place(error))
            log_failure(error, self._tenant_id, given, 0.0)
            raise
        options = {option: value for option, value in checked.items() if option != name}
        self._given += _items_of(given[name])
        self._writes += [Write(method, at, item, options) for at, item in enumerate(items, self._counts[method])]
        self._counts[method] += len(items)

    def _check(self, method: str, items: Sequence[Model]) -> None:
        for place, item in enumerate(items):
            if getattr(item, "tenant_id", self._tenant_id) != self._tenant_id:
                error = ValidationError("tenant_id: the unit of work is of another tenant")
                error.item = (method, self._counts[method] + place)
                raise error
        if len(self._writes) + len(items) > MOST_ITEMS:
            raise ValidationError(f"a unit of work has at most {MOST_ITEMS:,} items")
        if method == "save_session":
            session_id: UUID = items[0].__dict__["session_id"]
            if session_id in self._saved:
                raise ValidationError("session: it stands twice in the unit of work")
            self._saved.add(session_id)

    async def _commit(self, store: Committing) -> None:
        if not self._writes:
            return
        overwrite = any(write.options.get("overwrite") for write in self._writes)
        stored = await store.commit(self._tenant_id, Unit(self._tenant_id, self._writes), overwrite=overwrite)
        for given, item in zip(self._given, stored, strict=True):
            given.__dict__.update({name: item.__dict__[name] for name in item.store_managed + item.defaulted})


@asynccontextmanager
async def collected(store: Committing, tenant_id: UUID) -> AsyncIterator[UnitOfWork]:
    """Collect writes during a block, and commit them at its end. See `TurnStore.unit_of_work`."""
    work = UnitOfWork(tenant_id)
    try:
        yield work
    finally:
        work._ended = True
    await work._commit(store)


def _items_of(value: Any) -> Sequence[Model]:
    return [value] if isinstance(value, Model) else value if isinstance(value, list) else []


def _place(error: ValidationError) -> int:
    """Return the place of an invalid item in the list that was given."""
    cause = error.__cause__
    places: Iterator[Any] = (
        iter(cause.errors()[0]["loc"][1:2]) if isinstance(cause, pydantic.ValidationError) else iter(())
    )
    return next((place for place in places if isinstance(place, int)), 0)
