"""Canaries: recognisable content in every text, JSON value and vector of arguments, by their types.

Ids and names in code (`Key`) may be named, and get none.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import JsonValue

from convostore.call.call import Call, Proceed
from convostore.call.store import Store
from convostore.domain.codec.annotations import bare, hints_of
from convostore.models.base import Model
from convostore.models.fields import Key, Language, Sha256
from tests.unit.examples import EXAMPLES

TOKEN = "deadfa11ab1e"
"""Stands in every text; valid in a hexadecimal digest."""

NUMBER = 73_737.25
"""Stands in every vector."""

LEAK = re.compile(rf"{TOKEN}|73,?737\.25", re.IGNORECASE)

Change = Callable[[Any, Any], Any]
"""Returns what to put in place of a value of a type."""


class Speaking:
    """An object of no use as an argument, whose text is content."""

    def __repr__(self) -> str:
        return f"<{TOKEN}>"


BAD = (f"{TOKEN}\0", TOKEN * 100_000, f"{TOKEN}\ud800", Speaking())
"""What no text may be: NUL, too long, an unpaired surrogate, no text at all."""


def mapped(value: Any, hint: Any, change: Change) -> Any:
    """Return a copy of a value in which everything that contains nothing is changed, keys included."""
    kind = bare(hint)
    inner = get_args(kind)
    if isinstance(value, Model):
        hints = hints_of(type(value))
        return value.model_copy(update={name: mapped(value.__dict__[name], hints[name], change) for name in hints})
    if isinstance(value, list) and get_origin(kind) is list and inner[0] is not float:
        return [mapped(item, inner[0], change) for item in value]
    if isinstance(value, dict) and get_origin(kind) is dict and inner[1] is not JsonValue:
        return {mapped(key, inner[0], change): mapped(item, inner[1], change) for key, item in value.items()}
    return change(value, hint)


@cache
def hints_of_method(contract: type[Store], name: str) -> Mapping[str, Any]:
    """Return the types of a method's arguments."""
    return typing.get_type_hints(getattr(contract, name), include_extras=True)


def planted(contract: type[Store], name: str, arguments: Mapping[str, Any], end: str = "") -> dict[str, Any]:
    """Return a call's arguments with canaries: equal texts stay equal, and different ones different.

    Args:
        contract: the contract.
        name: of the method.
        arguments: as its callers give them.
        end: what texts end in, so that they differ from those with another end.
    """
    hints, change = hints_of_method(contract, name), partial(_with_canary, end=end)
    return {key: mapped(_completed(value), hints[key], change) for key, value in arguments.items()}


def spoiled(
    contract: type[Store], name: str, arguments: Mapping[str, Any], *, thorough: bool
) -> Iterator[dict[str, Any]]:
    """Yield a call's arguments with canaries, in which one part is replaced by a bad one."""
    hints, given = hints_of_method(contract, name), planted(contract, name, arguments)
    for key, value in given.items():
        for bad in replaced(value, hints[key], thorough=thorough):
            yield {**given, key: bad}


def replaced(value: Any, hint: Any, *, thorough: bool) -> Iterator[Any]:
    """Yield copies of a value in which one part is replaced by a bad one, if `thorough` by each of them."""
    count = 0

    def counted(part: Any, _: Any) -> Any:
        nonlocal count
        count += 1
        return part

    mapped(value, hint, counted)
    for place in range(count):
        for bad in BAD if thorough else BAD[place % len(BAD) :][:1]:
            yield mapped(value, hint, partial(_at, place, bad, iter(range(count))))


def _at(place: int, other: Any, places: Iterator[int], part: Any, _: Any) -> Any:
    """Return something else in place of the part at a place."""
    return other if next(places) == place else part


class Planting:
    """An interceptor that plants canaries into the arguments of every call."""

    def __init__(self, contract: type[Store]) -> None:
        self._contract = contract

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        return await proceed(call.with_arguments(planted(self._contract, call.operation, call.arguments)))


def _completed(value: Any) -> Any:
    """Return an item, or a list of them, whose empty fields with text are those of an example."""
    if isinstance(value, list):
        return [_completed(item) for item in value]
    if not isinstance(value, Model):
        return value
    empty = [name for name, hint in hints_of(type(value)).items() if not value.__dict__[name] and _holds_text(hint)]
    return value.model_copy(update={name: EXAMPLES[type(value)].__dict__[name] for name in empty})


def _holds_text(hint: Any) -> bool:
    kind = bare(hint)
    if isinstance(kind, type) and issubclass(kind, Model):
        return any(map(_holds_text, hints_of(kind).values()))
    return kind in (str, JsonValue) or (get_origin(kind) in (list, dict) and any(map(_holds_text, get_args(kind))))


def _with_canary(value: Any, hint: Any, end: str = "") -> Any:
    kind, hint = bare(hint), _required(hint)
    if value is None or hint in (Key, Language) or LEAK.search(repr(value)):
        return value
    if hint == Sha256:
        return (TOKEN * 6)[:64]
    if kind is str:
        return f"{TOKEN} {value}{end}"
    if kind is JsonValue or get_origin(kind) is dict:
        return {TOKEN: [TOKEN, value]}
    return [NUMBER, *value[1:]] if get_origin(kind) is list else value


def _required(hint: Any) -> Any:
    """Return a type without None."""
    while get_origin(hint) is not Annotated and NoneType in get_args(hint):
        hint = next(each for each in get_args(hint) if each is not NoneType)
    return hint
