"""The values at the limits of every field, derived from the types of the fields."""

from __future__ import annotations

import functools
import sys
import types
from array import array
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic.fields import FieldInfo

from convostore.models import CustomerProfile, ItemStatus
from convostore.models.base import Model
from convostore.models.fields import (
    LANGUAGES,
    MAX_TEXT_BYTES,
    Json,
    JsonObject,
    Key,
    Language,
    Sha256,
    UtcDatetime,
    Vector,
)
from tests.unit.strategies import hints_of

M = TypeVar("M", bound=Model)

_RANDOM = Random(0)
_EXAMPLES = 4
"""The most examples of a model: each takes one limit of each field."""


def text(characters: int) -> str:
    """Return an incompressible text of four bytes per character."""
    return "".join(map(chr, _RANDOM.choices(range(0x1F300, 0x1FAFF), k=characters)))


def nested(depth: int) -> dict[str, Any]:
    """Return objects nested to a depth."""
    return {"in": nested(depth - 1)} if depth > 1 else {}


NUMBERS = [10**38 - 1, -(10**38) + 1, 2**64 + 1, 2**53 + 1, 1.7976931348623157e308, 5e-324, -0.0, 0.1, 1e23]
OBJECTS = [
    {"numbers": NUMBERS, "": [None, True, [], {}], '👩‍👩‍👧‍👦\\"\\u0000': "\u2028\x01\x7f\ufeff\U0010ffff"},
    nested(64),
    {"long": text((MAX_TEXT_BYTES - len('{"long":""}')) // 4)},
    {},
]
FLOATS = array("f", (_RANDOM.gauss(0, 1) for _ in range(4_000))).tolist()
VECTORS = [FLOATS, [3.4028234663852886e38], [1.401298464324817e-45], FLOATS[:1]]

SPECIAL: tuple[tuple[Any, list[Any]], ...] = (
    (Json, [10**38 - 1, OBJECTS[0], nested(64), "x" * (MAX_TEXT_BYTES - 2)]),
    (JsonObject, OBJECTS),
    (Vector, VECTORS),
    (Key, ["a" * 50, "_"]),
    (Sha256, ["f" * 64]),
    (Language, [LANGUAGES[0], LANGUAGES[-1]]),
    (
        UtcDatetime,
        [datetime(1, 1, 1, microsecond=1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)],
    ),
    (UUID, [UUID(int=0), UUID(int=2**128 - 1)]),
    (bool, [True, False]),
    (type(None), [None]),
)


def limits(hint: Any) -> list[Any]:
    """Return the values at the limits of a field's type."""
    for special, values in SPECIAL:
        if hint == special:
            return values
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounds(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return [value for argument in arguments for value in limits(argument)]
    if origin is Literal:
        return list(arguments)
    if origin is list:
        return [limits(arguments[0])[:2], []]
    if origin is dict:
        return [dict(zip(limits(arguments[0]), limits(arguments[1]), strict=False)), {}]
    return list(hint) if issubclass(hint, Enum) else examples(hint)


@functools.cache
def examples(model: type[M]) -> list[M]:
    """Return models whose fields are at their limits, each limit of a field in one of them."""
    values = {name: limits(hint) for name, hint in hints_of(model).items()}
    if "scope_id" in values:
        values["scope_id"] = limits(UUID)
    if model is CustomerProfile:
        field = values["fields"][0].popitem()[1]
        values["fields"] = [{field.name: field.model_copy(update={"status": ItemStatus.ACTIVE})}, {}]
        values["assets"] = [
            [asset.model_copy(update={"status": ItemStatus.ACTIVE}) for asset in values["assets"][0]],
            [],
        ]
        values["channel_identities"] = [values["channel_identities"][0][:1], []]
    count = min(_EXAMPLES, max(map(len, values.values())))
    return [model(**{name: some[number % len(some)] for name, some in values.items()}) for number in range(count)]


def _bounds(base: Any, metadata: tuple[Any, ...]) -> list[Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        for limit in item.metadata if isinstance(item, FieldInfo) else [item]:
            names = ("ge", "le", "lt", "min_length", "max_length")
            found.update({name: getattr(limit, name) for name in names if getattr(limit, name, None) is not None})
    if base is str:
        return [text(found.get("max_length", MAX_TEXT_BYTES // 4)), "x" * found.get("min_length", 0)]
    if base is float:
        return [float(found["ge"]), float(found.get("le", sys.float_info.max))]
    return [found["ge"], found["le"] if "le" in found else found["lt"] - 1]
