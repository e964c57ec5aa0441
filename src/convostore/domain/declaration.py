"""What a declaration says of something that a store keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

from convostore.domain.codec import Codec
from convostore.models.audit import RecordKind
from convostore.models.base import Model

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Kept(Generic[M]):
    """A model that a store keeps, however it does.

    Attributes:
        name: the word for it in tables, methods, errors and logs.
        model: the model.
        sensitive: the fields that may hold personal data or content, nested ones as a whole; never logged.
        customer: the fields that lead to a customer, each with the name of what it refers to, until `profile`.
    """

    name: str
    model: type[M]
    sensitive: tuple[str, ...] = field(default=(), kw_only=True)
    customer: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @cached_property
    def codec(self) -> Codec[M]:
        """Turns items into what is stored, and back."""
        return Codec(self.name, self.model)


@dataclass(frozen=True)
class Unique:
    """Columns whose values at most one living row of a tenant has; `among` limits that to rows with these values."""

    columns: tuple[str, ...]
    among: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def counts(self, item: Model) -> bool:
        """Return whether an item is one of those that must differ."""
        return all(getattr(item, name) in values for name, values in self.among.items())

    def values_of(self, item: Model) -> tuple[Any, ...]:
        """Return the values of an item that others must not have."""
        return tuple(getattr(item, name) for name in self.columns)


@dataclass(frozen=True)
class Declaration(Kept[M]):
    """A model that is one row of one table: every field is a column.

    Attributes:
        order: the columns that lists are sorted by, a leading minus for descending; the key breaks ties, ascending.
        key: the primary key after `tenant_id`.
        lookup: the columns by which `get_`, `delete_` and `restore_` name a row, after `tenant_id`; the key if empty.
        plural: the word for several; the name with an s if empty.
        listed: the contract method that lists them; `get_` and the plural if empty.
        only: the values of columns that a list is limited to by default.
        unique: unique sets besides the key.
        owner: the declaration of the row that this one is listed under, and deleted and restored with.
        parents: the columns that refer to a row of another declaration, by its name, which must be there.
        revisioned: whether saving compares and sets a revision.
        soft_delete: whether deletion only sets `deleted_at`.
        computed: columns of text that a write gives besides the fields and that nobody reads, each with the field
            that it is computed from, and the function.
    """

    order: tuple[str, ...]
    key: tuple[str, ...] = ("id",)
    lookup: tuple[str, ...] = ()
    plural: str = ""
    listed: str = ""
    only: Mapping[str, Any] = field(default_factory=dict)
    unique: tuple[Unique, ...] = ()
    owner: Declaration[Any] | None = field(default=None, repr=False)
    parents: Mapping[str, str] = field(default_factory=dict)
    revisioned: bool = False
    soft_delete: bool = False
    computed: Mapping[str, tuple[str, Callable[[str], str | None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plural = self.plural or f"{self.name}s"
        self.__dict__.update(plural=plural, lookup=self.lookup or self.key, listed=self.listed or f"get_{plural}")

    @cached_property
    def codec(self) -> Codec[M]:
        """Turns items into what is stored, and back."""
        return Codec(self.name, self.model, self.key)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, which are the fields of the model."""
        return tuple(self.model.model_fields)

    @property
    def content(self) -> tuple[str, ...]:
        """The columns that the caller decides: what two writes of one id must agree in to be the same."""
        return tuple(name for name in self.columns if name not in self.model.store_managed)

    @property
    def owned_by(self) -> tuple[str, ...]:
        """The column with the id of the owner, if there is one."""
        return (f"{self.owner.name}_id",) if self.owner else ()

    def key_of(self, item: M) -> tuple[Any, ...]:
        """Return the values of an item's key."""
        values = item.__dict__
        return tuple([values[name] for name in self.key])

    def position(self, order: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return the columns that say where a row stands in a list: those of the order, or of another, and the key."""
        return (*(order or self.order), *self.key)

    def constraint(self, unique: Unique) -> str:
        """Return the name of a unique set, which is the `code` of the ConflictError it raises."""
        return f"{self.name}_{'_'.join(unique.columns)}_key"


@dataclass(frozen=True)
class RecordType(Kept[M]):
    """A model that is recorded in the audit trail.

    Attributes:
        name: what the record calls it.
        key: the field with its id.
        filed: the fields that stand beside its body, for lists to filter and order by.
    """

    name: RecordKind
    key: str
    filed: tuple[str, ...]

    def id_of(self, item: M) -> UUID:
        """Return the id of an item."""
        found: UUID = item.__dict__[self.key]
        return found


def tenant_of(item: Model) -> UUID:
    """Return the tenant of an item."""
    tenant: UUID = item.__dict__["tenant_id"]
    return tenant
