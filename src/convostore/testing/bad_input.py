"""The contract of all stores: what no argument may be is refused, in every method, and leaves nothing behind."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product
from random import randrange
from typing import Any
from uuid import UUID, uuid4

import pydantic

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.call.store import Store
from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.testing.base import StoreContract
from convostore.testing.isolation.calls import Method, calls_of, functions_of, methods_of
from convostore.testing.isolation.contract import contract_of, filled, state
from convostore.testing.isolation.worlds import Ids, World, facts_of


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class _Text(str):
    """A subclass of str, as of an enumeration or a markup library."""

    __slots__ = ()


class _Number(int):
    """A subclass of int."""


VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf"), 5e-324),
    *("", "\x00", "\ud800", "a\nb", "x" * 600, b"x", object(), UUID(int=0), UUID(int=2**128 - 1)),
    *([], [None], [object()], {}, {"a": 1}, {object(): 1}, set(), (), _nested(2_000), _circular()),
    *(datetime(2026, 1, 1), datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),  # noqa: DTZ001
    *(Decimal(1), 1j, "1", float, Exception("x"), [1.0, float("nan")], [10**400], {"a": float("nan")}, {"\ud800": 1}),
)
"""What callers pass by mistake or malice. Where one of them is a valid argument, the call answers as ever."""

KEPT: tuple[Any, ...] = (
    *(" x ", "e\u0301", "%s {} $1 ' \" \\\\ -- \\x00", "\u202e\ufeff\u2028\x01\x7f\U0010ffff", _Text("x"), "1", "x_1"),
    *(1, _Number(7), 2**31 - 1, 0.1, -0.0, 1, True, False, None),
    *({}, {"": [None, True, 1e23, 2**53 + 1, "\u2028\x01"]}, {"x": 1}, [0.1, 3.4028234663852886e38], []),
    datetime(2026, 3, 29, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=14), "x")),
    datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
)
"""What is unusual and valid in some field: a field that takes it keeps it."""


def public_methods(contract: type[Store]) -> Iterator[tuple[str, inspect.Signature]]:
    """Yield name and signature, without `self`, of the methods of a contract and of those that bind a store."""
    for name in [*functions_of(contract), "within", "for_tenant"]:
        signature = inspect.signature(getattr(contract, name))
        yield name, signature.replace(parameters=list(signature.parameters.values())[1:])


async def answer(store: Any, name: str, /, *args: Any, **named: Any) -> Any:
    """Return what a method returns, a stream as a list; a block is entered."""
    result = getattr(store, name)(*args, **named)
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    if inspect.isawaitable(result):
        return await result
    if hasattr(result, "__aenter__"):
        async with result as value:
            return value
    return result


async def refusal(store: Any, name: str, /, *args: Any, **named: Any) -> str:
    """Return the message with which a call is refused; fail if it is not, or not as every bad argument is."""
    try:
        await answer(store, name, *args, **named)
    except ValidationError as error:
        refused = error
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__} instead of ValidationError") from error
    else:
        raise AssertionError(f"{name}: not refused")
    assert (refused.store, refused.operation, refused.outcome) == (store.kind, name, "not_applied"), name
    assert not refused.retryable
    return str(refused)


class BadInputContract(StoreContract):
    """Arguments that are missing, unknown, too many or of no use, in every method."""

    async def test_missing_unknown_and_surplus_arguments_are_refused_by_name(self, store: Any) -> None:
        for name, signature in public_methods(contract_of(store)):
            said = await refusal(store, name, unheard_of=1, self=2)
            required = [p.name for p in signature.parameters.values() if p.default is p.empty]
            assert all(each in said for each in ("unheard_of", "self", *required)), name
            if required:
                said = await refusal(store, name)
                assert all(each in said for each in required), name
            surplus = len(signature.parameters) + 1
            assert f"argument {surplus}" in await refusal(store, name, *[None] * surplus)
            for parameter in signature.parameters:
                assert parameter in await refusal(store, name, **{parameter: object()}), name

    async def test_a_bad_argument_is_refused_unsent_and_leaves_nothing_behind(self, store: Any) -> None:
        watched, sent = _watched(store)
        refused = await _refused(watched, await filled(store, Ids()), bad_values(contract_of(store)))
        untouched = await filled(store, Ids())
        await state(store, untouched)  # Restores what is deleted, once.
        before = await state(store, untouched)
        assert await _refused(watched, untouched, refused) == refused
        assert await state(store, untouched) == before
        assert sent == []

    async def test_a_field_is_kept_as_it_was_given_or_refused_unsent(self, store: Any) -> None:
        watched, sent = _watched(store)
        world = await filled(store, Ids())
        writing = [method for method in methods_of(contract_of(store)) if method.effect is not Effect.READ]
        for save, (*_, item) in product(writing, world.items.values()):
            if list(save.required) == [name for name, kind in save.parameters.items() if kind is type(item)]:
                for name in (name for name in type(item).model_fields if name != "tenant_id"):
                    # What was superseded cannot come back: go on with what there is.
                    item = await _kept(watched, save, item, name)
                    assert item, f"{save.name}: no {name} was kept"
        assert sent == []


def _watched(store: Any) -> tuple[Any, list[str]]:
    """Return a store, and the names of its calls that were refused as invalid after something was sent."""
    sent: list[str] = []

    async def watch(call: Call, proceed: Proceed) -> Any:
        try:
            return await proceed(call)
        except ValidationError:
            if store.connected and call.sent:
                sent.append(call.operation)
            raise

    return store._with_interceptors_of_attempts(watch), sent


async def _kept(store: Any, save: Method, item: Any, name: str) -> Any:
    """Save an item with each value in one field, and check that it is refused, or read back; return what was last."""
    key, last, what = next(iter(type(item).model_fields)), None, save.name.partition("_")[2]
    read = getattr(store, f"get_{what}" if what else "get")
    overwriting = {"overwrite": True} if "overwrite" in save.parameters else {}
    for value in (getattr(item, name), *KEPT, *VALUES):
        given = item.model_copy(update={name: value})
        if not overwriting:
            new = {key: uuid4(), "session_id": uuid4(), "turn_number": randrange(2**31)}
            given = given.model_copy(update={each: new[each] for each in new.keys() & {*given.__dict__} - {name}})
        try:
            valid = type(item).model_validate(given)
        except (pydantic.ValidationError, RecursionError):
            await refusal(store, save.name, given, **overwriting)
            continue
        try:
            await answer(store, save.name, given, **overwriting)
        except (ConflictError, NotFoundError, ValidationError):
            continue
        facts = facts_of(valid, None, what)
        last = await read(**{each: facts[each] for each in inspect.signature(read).parameters if each in facts})
        if name not in item.store_managed and not (name in item.defaulted and getattr(valid, name) is None):
            assert getattr(last, name) == getattr(valid, name), f"{save.name}: {name}={value!r}"
    return last


Case = tuple[Method, str, int]
"""A method, one of its arguments, and which of the values it is given."""


def bad_values(contract: type[Store]) -> list[Case]:
    """Return every value for every argument of every method that concerns one tenant."""
    return [(m, name, which) for m in methods_of(contract) for name in m.parameters for which in range(len(VALUES))]


async def _refused(store: Any, world: World, cases: list[Case]) -> list[Case]:
    """Make calls, and return those that were refused; what else they raise must be an answer of the store."""
    found = []
    methods = {method.name: method for method, _, _ in cases}
    valid = {each: next(calls_of(method, world, store.kind, required=True), {}) for each, method in methods.items()}
    for method, name, which in cases:
        given = valid[method.name]
        try:
            await answer(store, method.name, **{**given, name: VALUES[which]})
        except ValidationError:
            found.append((method, name, which))
        except (ConflictError, NotFoundError):
            pass
        except Exception as error:
            raise AssertionError(f"{method.name}({name}=VALUES[{which}]): {error!r}") from error
    return found
