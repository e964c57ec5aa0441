"""The contract of all stores: a tenant is answered, and keeps, what it would without another that has the same ids."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any
from uuid import uuid4

from convostore.call.effects import Effect
from convostore.call.store import Store
from convostore.domain.declarations import DECLARATIONS
from convostore.testing.base import StoreContract
from convostore.testing.isolation.answers import normalised
from convostore.testing.isolation.calls import Method, calls_of, methods_of, outcome
from convostore.testing.isolation.worlds import KINDS, Ids, World, made


def contract_of(store: Store) -> type[Store]:
    """Return the contract that a store implements, as a whole: the parts that it is made of are of the same kind."""
    return next(base for base in type(store).__mro__ if vars(base).get("kind") == store.kind)


async def filled(store: Any, ids: Ids, *, twin: bool = False) -> World:
    """Return a new tenant with everything that a world keeps."""
    world = made(World(uuid4(), ids, twin), store.kind)
    await KINDS[store.kind][1](store, world)
    return world


async def answers(store: Any, methods: list[Method], world: World, *, required: bool = False) -> list[str]:
    """Call methods with all that they can be asked, or with required arguments alone, and return the answers."""
    return [
        f"{method.name}({normalised(given, world)}): {normalised(await outcome(store, method, given), world)}"
        for method in methods
        for given in calls_of(method, world, store.kind, required=required)
    ]


async def state(store: Any, world: World) -> list[str]:
    """Return what a tenant can learn of its state: by every read, and of what is hidden by bringing it back."""
    methods = methods_of(contract_of(store))
    restoring = [method for method in methods if method.name.startswith(("restore_", "unmerge_"))]
    reading = [method for method in methods if method.effect is Effect.READ and not method.name.startswith("iter_")]
    return await answers(store, [*restoring, *reading], world, required=True)


def write_groups(contract: type[Store]) -> Iterator[list[Method]]:
    """Yield the writing methods of a contract, those of one verb that concern single rows together."""
    rows = {name for each in DECLARATIONS if each.owner for name in (each.name, each.plural)}

    def group(method: Method) -> str:
        verb, _, what = method.name.partition("_")
        return verb if what in rows else method.name

    writing = sorted((m for m in methods_of(contract) if m.effect is not Effect.READ), key=lambda m: (group(m), m.name))
    for _, methods in groupby(writing, group):
        yield list(methods)


def check_same(found: list[str], expected: list[str], why: str) -> None:
    """Fail with the first answers that differ."""
    for one, other in zip(found, expected, strict=True):
        assert one == other, why


async def check_reads(store: Any) -> None:
    """Check that every read answers a tenant as if it had no twin."""
    reading = [method for method in methods_of(contract_of(store)) if method.effect is Effect.READ]
    alone, beside = await filled(store, Ids()), await filled(store, ids := Ids())
    await filled(store, ids, twin=True)
    expected = await answers(store, reading, alone)
    check_same(await answers(store, reading, beside), expected, "another tenant's data shows")


async def check_writes(store: Any, methods: list[Method], untouched: list[str]) -> None:
    """Check that writes answer a tenant as if it had no twin, and leave the twin's state as it was."""
    names = ", ".join(method.name for method in methods)
    alone, beside = await filled(store, Ids()), await filled(store, ids := Ids())
    twin = await filled(store, ids, twin=True)
    expected = await answers(store, methods, alone)
    check_same(await answers(store, methods, beside), expected, f"{names}: another tenant's data matters")
    check_same(await state(store, twin), untouched, f"{names}: another tenant's data changed")


class IsolationContract(StoreContract):
    """Two tenants with the same ids, in every method."""

    async def test_what_a_tenant_reads_does_not_depend_on_a_twin(self, store: Any) -> None:
        await check_reads(store)

    async def test_what_a_tenant_writes_does_not_depend_on_a_twin_nor_changes_it(self, store: Any) -> None:
        untouched = await state(store, await filled(store, Ids(), twin=True))
        for methods in write_groups(contract_of(store)):
            await check_writes(store, methods, untouched)
