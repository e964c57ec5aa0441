"""Field types shared by the models and the contracts: one bound, one place."""

from __future__ import annotations

import math
import re
import struct
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from numbers import Real
from secrets import token_bytes
from struct import pack, unpack
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    JsonValue,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, to_json

MAX_TEXT_BYTES = 1 << 20
MAX_JSON_BYTES = 1 << 20
MAX_BODY_BYTES = 1 << 30
MAX_JSON_DEPTH = 64
MAX_INTEGER = 10**38
MAX_DIMENSIONS = 4_000
_EXACT_FLOAT = 2.0**53
_NAME_OR_ID = re.compile(r"[a-z_][a-z0-9_]{0,49}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def now() -> datetime:
    """Return the current time as an aware UTC datetime."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """Return a UUID of version 7 (RFC 9562, 5.7): ids sort by creation time, to the millisecond."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(token_bytes(10), "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | (7 << 76) | (2 << 62))


def _checked_text(value: str) -> str:
    return _checked_size(value, MAX_TEXT_BYTES)


def _checked_body(value: str) -> str:
    return _checked_size(value, MAX_BODY_BYTES)


def _checked_size(value: str, most: int) -> str:
    if "\x00" in value:
        raise ValueError("must not contain NUL characters")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("must not contain unpaired surrogates") from None
    if size > most:
        raise ValueError(f"must be at most {most:,} bytes in UTF-8")
    return value


_MINUS_INFINITY = datetime.min.replace(tzinfo=UTC)
"""asyncpg sends this datetime as -infinity, which it decodes without a time zone."""


def _checked_time(value: datetime) -> datetime:
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9998 (UTC)") from None
    if value.year > 9998:
        raise ValueError("must lie in the years 1 to 9998 (UTC)")
    if value == _MINUS_INFINITY:
        raise ValueError("must lie after the first moment of the year 1 (UTC)")
    return value.replace(fold=0) if value.fold else value


def _copied_json(value: Any, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _checked_text(str.__str__(value))
    if isinstance(value, int):
        # Whole floats beyond 10^38 are stored as the integer they equal, see below.
        if abs(value) >= MAX_INTEGER and not _is_exact_float(value):
            raise ValueError("integers in JSON must lie below 10^38")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("numbers in JSON must be finite")
        # A jsonb number has no exponent: 1e23 is read back as the integer 10**23, which does not equal the float 1e23.
        # The integer that equals the float survives the round trip.
        return int(value) if abs(value) >= _EXACT_FLOAT else float(value)
    if depth >= MAX_JSON_DEPTH:
        raise ValueError(f"JSON must not be nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, dict):
        copied = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError("keys in JSON must be strings")
            copied[_checked_text(str.__str__(key))] = _copied_json(item, depth + 1)
        return copied
    if isinstance(value, list):
        return [_copied_json(item, depth + 1) for item in value]
    raise ValueError(f"JSON cannot hold a {type(value).__name__}")


def _is_exact_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _checked_json(value: Any) -> Any:
    copied = _copied_json(value, 0)
    if len(to_json(copied)) > MAX_JSON_BYTES:
        raise ValueError(f"must be at most {MAX_JSON_BYTES:,} bytes as JSON")
    return copied


def _checked_json_object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return _checked_json(value)


def _is_number(value: Any) -> bool:
    # NumPy's scalars are registered as numbers, too.
    return isinstance(value, Real) and not isinstance(value, bool)


class _Checked(list[float]):
    """A validated vector and a copy of its values: most are validated twice, and comparing costs least."""

    __slots__ = ("held",)

    def __init__(self, held: tuple[float, ...]) -> None:
        super().__init__(held)
        self.held = held

    def __reduce__(self) -> tuple[Any, ...]:
        return list, ([*self],)


def _checked_vector(value: Any) -> list[float]:
    if type(value) is _Checked and tuple(value) == value.held:
        return _Checked(value.held)
    if not isinstance(value, Sequence) and getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        value = value.tolist()  # an array of NumPy or the like
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        raise ValueError("must be a list of numbers")
    if not 1 <= len(value) <= MAX_DIMENSIONS:
        raise ValueError(f"must have 1 to {MAX_DIMENSIONS:,} dimensions")
    kinds = {*map(type, value)}
    if not kinds <= {float, int} and not all(map(_is_number, value)):
        raise ValueError("must be a list of numbers")
    try:
        form = f"{len(value)}f"
        rounded = unpack(form, pack(form, *value))
    except (OverflowError, struct.error):
        raise ValueError("must hold finite numbers in the range of float32") from None
    # In double precision a sum of this many float32 cannot overflow: it is finite if all of them are.
    if not math.isfinite(sum(rounded)):
        raise ValueError("must hold finite numbers in the range of float32")
    if not any(rounded):
        raise ValueError("must not be the zero vector after rounding to float32")
    return _Checked(rounded)


LANGUAGES = (
    *("simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french"),
    *("german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian"),
    *("portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
)


def _checked_language(value: str) -> str:
    if value not in LANGUAGES:
        raise ValueError(f"must be one of {', '.join(LANGUAGES)}")
    return value


def _naming_keys(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        problems = [
            InitErrorDetails(
                type=PydanticCustomError(problem["type"], problem["msg"]),
                loc=(*map(_named, problem["loc"][:1]), *problem["loc"][1:]),
                input=None,
            )
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        title = error.title
    raise ValidationError.from_exception_data(title, problems, hide_input=True)


def _named(key: str | int) -> str | int:
    return key if _NAME_OR_ID.fullmatch(str(key)) else "*"


valid_text = AfterValidator(_checked_text)

named_keys = WrapValidator(_naming_keys)
"""Of a dictionary: errors name its keys if they are names in code or UUIDs; others may be content, and are `*`."""

Text = Annotated[str, valid_text]
"""Text of at most 1 MiB in UTF-8, without NUL and unpaired surrogates."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200), valid_text]
"""An external identifier: 1 to 200 characters."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=100), valid_text]
"""A display name: 1 to 100 characters."""

Language = Annotated[str, AfterValidator(_checked_language)]
"""A text search configuration that every supported version of PostgreSQL has."""

Key = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*\z", max_length=50)]
"""A name in code: lower-case letters, digits and underscores, not starting with a digit, at most 50 characters."""

ChannelUserId = Annotated[str, StringConstraints(min_length=1, max_length=512), valid_text]
"""A channel's identifier of a user: 1 to 512 characters."""

TypeName = Annotated[str, StringConstraints(min_length=1, max_length=100), valid_text]
"""A type of event, entity or relationship: 1 to 100 characters."""

UtcDatetime = Annotated[AwareDatetime, AfterValidator(_checked_time)]
"""An aware datetime in the years 1 to 9998, after the first moment of year 1, converted to UTC, with microseconds."""

Json = Annotated[JsonValue, PlainValidator(_checked_json)]
"""Any JSON value: finite numbers, integers below 10^38, string keys, depth at most 64, at most 1 MiB."""

JsonObject = Annotated[dict[str, JsonValue], PlainValidator(_checked_json_object)]
"""A JSON object within the bounds of `Json`."""

Body = Annotated[str, AfterValidator(_checked_body)]
"""A turn or event as JSON, at most 1 GiB in UTF-8, the largest value that PostgreSQL stores."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]
"""A SHA-256 digest: 64 lower-case hexadecimal digits."""

Vector = Annotated[list[float], PlainValidator(_checked_vector)]
"""An embedding: 1 to 4,000 finite numbers, rounded to float32, not all of them zero."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A non-negative 64-bit integer."""

Version = Annotated[int, Field(ge=1, lt=2**31)]
"""A version number: a positive 32-bit integer."""

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A finite number from 0 to 1, both inclusive."""
