"""Arguments of contract methods: their bounds as types, and the check that runs before any I/O.

The signature in the contract is the check: it is compiled once per method into a pydantic schema, which is strict
(`True` and `1.5` are not limits) and hands the store a deep, freshly validated copy of every model.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field
from pydantic.experimental.arguments_schema import generate_arguments_schema
from pydantic_core import ArgsKwargs, CoreConfig, SchemaValidator

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.errors import ValidationError
from convostore.models.base import Model

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

Staleness = Annotated[float, Field(ge=0, le=3_600)]
"""How old an answer may be: 0 to 3,600 seconds."""


def _one_weighs(weights: tuple[float, float]) -> tuple[float, float]:
    if not any(weights):
        raise ValueError("must not both be 0")
    return weights


_Weight = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Weights = Annotated[tuple[_Weight, _Weight], AfterValidator(_one_weighs)]
"""How much words and meaning count: two numbers of which one is above 0."""

HalfLife = Annotated[timedelta, Field(gt=timedelta(), le=timedelta(days=36_500))]
"""The age at which a score is worth half: above 0, at most 36,500 days."""

Diversity = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""How much unlikeness counts against the score: 0 to 1."""

Context = Annotated[int, Field(ge=0, le=10)]
"""How many turns before and after one count as its neighbours: 0 to 10."""

Deadline = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""How long a call may take: a number of seconds above 0."""

FencingToken = Annotated[int, Field(ge=1, lt=2**63)]
"""What a lock gave: a number that is higher for each later holder."""

VersionNumber = Annotated[int, Field(ge=1, lt=2**31)]
"""A version number, counted from 1."""


class ArgumentCheck:
    """Checks and copies the arguments of one contract method."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        parameters = list(inspect.signature(method).parameters.values())[1:]
        self._positional = tuple(each.name for each in parameters if each.kind is not each.KEYWORD_ONLY)

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by name, unchecked; those that fit no parameter under names that no parameter has."""
        names = self._positional
        if len(args) > len(names):
            names += tuple(f"argument {number}" for number in range(len(names) + 1, len(args) + 1))
        arguments = dict(zip(names, args, strict=False))
        if kwargs:
            for name, value in kwargs.items():
                arguments[f"{name} (given twice)" if name in arguments else name] = value
        return arguments

    def __call__(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the checked arguments by name, defaults included.

        Raises:
            ValidationError: an argument is missing, unknown or out of bounds; names it, never its value.
        """
        try:
            # What is given by keyword comes back by keyword.
            checked: dict[str, Any] = self._validator.validate_python(ArgsKwargs((), dict(arguments)))[1]
        except pydantic.ValidationError as error:
            raise ValidationError(self._describe(error)) from error
        except Exception as error:
            # Of an object's own methods, or of what is nested too deeply to be looked at.
            raise ValidationError(f"an argument cannot be looked at ({type(error).__name__})") from error
        return checked

    @cached_property
    def _validator(self) -> SchemaValidator:
        schema = generate_arguments_schema(self._method, "arguments", _skip_self)
        return SchemaValidator(schema, CoreConfig(strict=True, hide_input_in_errors=True))

    def _describe(self, error: pydantic.ValidationError) -> str:
        return "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )


class Validate:
    """Hands the backend deep, freshly validated copies, and gives back to the caller's objects what the store set.

    Args:
        check: the check of the called method.
    """

    def __init__(self, check: ArgumentCheck) -> None:
        self._check = check

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Run the call with checked arguments.

        Raises:
            ValidationError: an argument is invalid; nothing was sent.
        """
        if call.effect is Effect.READ:
            return proceed(call.with_arguments(self._check(call.arguments)))
        return self._write(call, proceed)

    async def _write(self, call: Call, proceed: Proceed) -> Any:
        # The caller may change a list during the call.
        given = {name: list(value) if isinstance(value, list) else value for name, value in call.arguments.items()}
        checked = self._check(given)
        result = await proceed(call.with_arguments(checked))
        _write_back(given, checked)
        return result


def _write_back(given: Mapping[str, Any], checked: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, list) and not (value and isinstance(value[0], Model)):
            continue  # a vector, which is not walked
        pairs = zip(value, checked[name], strict=True) if isinstance(value, list) else ((value, checked[name]),)
        for item, stored in pairs:
            if isinstance(item, Model):
                item.__dict__.update({field: stored.__dict__[field] for field in item.store_managed + item.defaulted})


def _skip_self(index: int, name: str, annotation: Any) -> Literal["skip"] | None:
    return "skip" if index == 0 else None
