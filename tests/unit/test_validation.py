"""Every method of every contract refuses invalid arguments, by name and before any I/O."""

from __future__ import annotations

from datetime import datetime
from inspect import Parameter
from typing import Annotated, Any, get_args, get_origin
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convostore.call.store import Store
from convostore.errors import ValidationError
from convostore.models.fields import UtcDatetime
from tests.unit.calls import METHODS, STORES, Method
from tests.unit.strategies import QUICK

EVERY_METHOD = pytest.mark.parametrize("method", METHODS, ids=str)
LOWEST_AND_HIGHEST = {"limit": (1, 1_000), "offset": (0, 10_000), "max_depth": (1, 10)}
BOUNDED = [
    pytest.param(method, name, id=f"{method}({name})")
    for method in METHODS
    for name in LOWEST_AND_HIGHEST
    if name in method.parameters
]


def store_of(method: Method) -> Store:
    """Return a store whose backend must not be called."""
    store = STORES[method.contract]()
    for private in ("_tables", "_holders", "_demoted", "_locks"):
        store.__dict__.pop(private, None)
    return store


async def refused(method: Method, arguments: dict[str, Any], *names: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await method.of(store_of(method))(**arguments)
    for name in names:
        assert name in str(caught.value), f"{caught.value} does not name {name}"
    assert (caught.value.operation, caught.value.outcome, caught.value.retryable) == (method.name, "not_applied", False)


def test_every_list_has_a_limit_and_an_offset() -> None:
    for method in METHODS:
        # Work that is done batch by batch is asked for by what is left of it; `search_rules` finds the best few.
        batches = ("sweep", "get_episodes_to_embed", "purge_deleted", "expire_stale_fields")
        paged = "limit" in method.parameters and method.name not in (*batches, "search_rules")
        assert paged is ("offset" in method.parameters), method
    # `traverse_from_entities` is bounded by its depth, months by time, `add_…` and `save_…` by what is given.
    lists = [m for m in METHODS if get_origin(m.hints["return"]) is list or m.name == "get_agents"]
    assert [str(m) for m in lists if "limit" not in m.parameters and not m.name.startswith(("add_", "save_"))] == [
        "MemoryStore.traverse_from_entities",
        "AuditStore.drop_bodies",
    ]


@pytest.mark.parametrize(("method", "name"), BOUNDED)
@QUICK
@given(data=st.data())
async def test_numbers_beyond_their_bounds_are_refused(method: Method, name: str, data: st.DataObject) -> None:
    lowest, highest = LOWEST_AND_HIGHEST[name]
    too_low, too_high = st.integers(max_value=lowest - 1), st.integers(min_value=highest + 1)
    no_number = st.booleans() | st.floats() | st.text() | st.binary() | st.lists(st.integers(), max_size=1)
    wrong = data.draw(too_low | too_high | no_number)
    await refused(method, {**method.arguments(uuid4()), name: wrong}, name)


@EVERY_METHOD
async def test_every_argument_is_validated_and_named(method: Method) -> None:
    for name in method.parameters:
        await refused(method, {**method.arguments(uuid4()), name: object()}, name)


@EVERY_METHOD
async def test_all_invalid_arguments_are_named(method: Method) -> None:
    if method.parameters:
        await refused(method, dict.fromkeys(method.parameters, object()), *method.parameters)


def wrong_for(hint: Any) -> tuple[Any, ...]:
    """Return values that only resemble values of a type."""
    kinds = (hint, *get_args(hint))
    if UUID in kinds:
        return (str(uuid4()), uuid4().hex, uuid4().bytes, uuid4().int)
    if UtcDatetime in kinds:
        return (datetime(2026, 1, 1), "2026-01-01T00:00:00Z", 0, datetime.max)  # noqa: DTZ001, DTZ901
    if hint is bool:
        return (0, 1, "true", None)
    if any(get_origin(kind) is Annotated and get_args(kind)[0] is str for kind in kinds):
        return ("a\x00b", "\ud800", "x" * (2**20 + 1), b"x", 5)
    return ()


@EVERY_METHOD
async def test_types_are_strict(method: Method) -> None:
    """Strings are not ids, numbers are not flags, times are aware, texts are what every backend can hold."""
    for name in method.parameters:
        for wrong in wrong_for(method.hints[name]):
            await refused(method, {**method.arguments(uuid4()), name: wrong}, name)


@EVERY_METHOD
async def test_required_arguments_must_be_given(method: Method) -> None:
    arguments = method.arguments(uuid4())
    for name, parameter in method.parameters.items():
        if parameter.default is Parameter.empty:
            rest = {other: value for other, value in arguments.items() if other != name}
            await refused(method, rest, f"{name}: Missing required")


@EVERY_METHOD
async def test_unknown_arguments_are_refused(method: Method) -> None:
    await refused(method, {**method.arguments(uuid4()), "surprise": 1}, "surprise: Unexpected keyword argument")


@EVERY_METHOD
async def test_options_are_keyword_only(method: Method) -> None:
    named = method.arguments(uuid4())
    positions = [n for n, p in method.parameters.items() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    with pytest.raises(ValidationError, match=r"argument \d+: Unexpected"):
        await method.of(store_of(method))(*(named[name] for name in positions), True)
