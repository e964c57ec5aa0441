"""Arguments of contract methods: their bounds as types, and the check that runs before any I/O.

The signature in the contract is the check: it is compiled once per method into a pydantic schema, which is strict
(`True` and `1.5` are not limits) and hands the store a deep, freshly validated copy of every model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from pydantic.experimental.arguments_schema import generate_arguments_schema
from pydantic_core import ArgsKwargs, CoreConfig, SchemaValidator

from convostore.errors import ValidationError

Limit = Annotated[int, Field(ge=1, le=1_000)]
"""How many results at most: 1 to 1,000."""

Offset = Annotated[int, Field(ge=0, le=10_000)]
"""How many results to skip: 0 to 10,000."""

Depth = Annotated[int, Field(ge=1, le=10)]
"""How many edges to follow: 1 to 10."""

Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
"""A cosine similarity: -1 to 1."""

Seconds = Annotated[float, Field(ge=0.1, le=3_600)]
"""How long a lock lasts without renewal: 0.1 to 3,600 seconds."""

FencingToken = Annotated[int, Field(ge=1, lt=2**63)]
"""What a lock gave: a number that is higher for each later holder."""

StoredVersion = Annotated[int, Field(ge=1, lt=2**31)]
"""A version number, counted from 1."""


class ArgumentCheck:
    """Checks and copies the arguments of one contract method."""

    def __init__(self, method: Callable[..., Any]) -> None:
        signature = inspect.signature(method)
        self.names = tuple(signature.parameters)[1:]
        schema = generate_arguments_schema(method, "arguments", _skip_self)
        self._validator = SchemaValidator(schema, CoreConfig(strict=True, hide_input_in_errors=True))

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the checked arguments by name, defaults included.

        Raises:
            ValidationError: an argument is missing, unknown or out of bounds; names it, never its value.
        """
        try:
            values, keywords = self._validator.validate_python(ArgsKwargs(tuple(args), dict(kwargs)))
        except pydantic.ValidationError as error:
            raise ValidationError(self._describe(error)) from error
        return {**dict(zip(self.names, values, strict=False)), **keywords}

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, unchecked, as far as they have one."""
        return {**dict(zip(self.names, args, strict=False)), **kwargs}

    def _describe(self, error: pydantic.ValidationError) -> str:
        return "; ".join(
            f"{'.'.join(self._named(item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )

    def _named(self, location: tuple[int | str, ...]) -> list[str]:
        first, *rest = location
        if isinstance(first, int) and first < len(self.names):
            first = self.names[first]
        return [str(first), *map(str, rest)]


def _skip_self(index: int, name: str, annotation: Any) -> Literal["skip"] | None:
    return "skip" if index == 0 else None
