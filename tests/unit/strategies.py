"""Hypothesis strategies for the models, derived from the types of their fields."""

from __future__ import annotations

import functools
import types
import typing
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from convostore.models import CustomerProfile, ItemStatus, ProfileAsset, ProfileField
from convostore.models.base import Model
from convostore.models.config import Scoped
from convostore.models.fields import LANGUAGES, Json, JsonObject, Key, Language, Sha256, UtcDatetime, Vector, named_keys

Strategy: TypeAlias = st.SearchStrategy[Any]
M = TypeVar("M", bound=Model)

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Few enough examples for every run, and enough to find an encoding error."""

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXT = st.text(CHARACTERS, max_size=20)
NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VECTORS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=5).filter(any)
FIRST = datetime(1, 1, 1, microsecond=1)  # noqa: DTZ001
LAST = datetime(9998, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001
MOMENTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))

SPECIAL: tuple[tuple[Any, Strategy], ...] = (
    (Json, JSON),
    (JsonObject, st.dictionaries(TEXT, JSON, max_size=3)),
    (Vector, VECTORS),
    (Key, st.from_regex(r"[a-z_][a-z0-9_]{0,49}", fullmatch=True)),
    (Sha256, st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
    (Language, st.sampled_from(LANGUAGES)),
    (UtcDatetime, MOMENTS),
    (date, st.dates()),
    (UUID, st.uuids()),
    (bool, st.booleans()),
    (type(None), st.none()),
)


def strategy_for(hint: Any) -> Strategy:
    """Return valid values of a field's type."""
    for special, strategy in SPECIAL:
        if hint == special:
            return strategy
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _constrained(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return st.one_of([strategy_for(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(strategy_for(arguments[0]), max_size=2)
    if origin is tuple:
        return st.tuples(*map(strategy_for, arguments))
    if origin is dict:
        return st.dictionaries(strategy_for(arguments[0]), strategy_for(arguments[1]), max_size=2)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if issubclass(hint, Model):
        return models(hint)
    raise TypeError(f"there is no strategy for {hint}; add one here")


@functools.cache
def hints_of(model: type[Model]) -> dict[str, Any]:
    """Return the types of a model's fields, with their bounds."""
    hints = typing.get_type_hints(model, include_extras=True)
    return {name: _undressed(hints[name]) for name in model.model_fields}


def _undressed(hint: Any) -> Any:
    """Return a type without what only changes the words of errors."""
    return get_args(hint)[0] if named_keys in get_args(hint) else hint


@functools.cache
def models(model: type[M]) -> st.SearchStrategy[M]:
    """Return valid models with every field drawn."""
    values = {name: strategy_for(hint) for name, hint in hints_of(model).items()}
    if issubclass(model, Scoped):
        values["scope_id"] = st.uuids()
    if model is CustomerProfile:
        active = models(ProfileField).map(lambda field: field.model_copy(update={"status": ItemStatus.ACTIVE}))
        values["fields"] = st.lists(active, max_size=2).map(lambda fields: {field.name: field for field in fields})
        values["assets"] = st.lists(models(ProfileAsset).filter(lambda it: it.status != "superseded"), max_size=2)
        values["channel_identities"] = values["channel_identities"].map(lambda identities: identities[:1])
    return st.builds(model, **values)


def _constrained(base: Any, metadata: tuple[Any, ...]) -> Strategy:
    limits: dict[str, Any] = {}
    for item in metadata:
        for limit in item.metadata if isinstance(item, FieldInfo) else [item]:
            names = ("ge", "le", "lt", "min_length")
            limits.update({name: getattr(limit, name) for name in names if getattr(limit, name, None) is not None})
    if base is str:
        return st.text(CHARACTERS, min_size=limits.get("min_length", 0), max_size=20)
    if base is int:
        return st.integers(limits["ge"], limits["le"] if "le" in limits else limits["lt"] - 1)
    return st.floats(limits.get("ge"), limits.get("le"), allow_nan=False, allow_infinity=False)
