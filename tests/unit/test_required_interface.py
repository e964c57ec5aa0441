"""The contracts and the stores have every method of `required_interface`, with its signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from datetime import datetime
from inspect import Parameter
from typing import Any, NamedTuple

import pytest

from convostore import contracts, inmemory, postgres, redis
from tests.unit import required_interface as required

CONTRACTS: dict[type, type] = {
    required.SessionStore: contracts.SessionStore,
    required.RedisSessionStore: redis.RedisSessionStore,
    required.ConfigStore: contracts.ConfigStore,
    required.MemoryStore: contracts.MemoryStore,
    required.AuditStore: contracts.AuditStore,
    required.ProfileStore: contracts.ProfileStore,
}
STORES: dict[type, tuple[type, ...]] = {
    contracts.SessionStore: (
        inmemory.InMemorySessionStore,
        postgres.PostgresSessionStore,
        redis.RedisSessionStore,
    ),
    contracts.ConfigStore: (inmemory.InMemoryConfigStore, postgres.PostgresConfigStore),
    contracts.MemoryStore: (inmemory.InMemoryMemoryStore, postgres.PostgresMemoryStore),
    contracts.AuditStore: (inmemory.InMemoryAuditStore, postgres.PostgresAuditStore),
    contracts.ProfileStore: (inmemory.InMemoryProfileStore, postgres.PostgresProfileStore),
}


class Promise(NamedTuple):
    """A required method, and the class that must have it."""

    keeper: type
    name: str
    required: Callable[..., Any]

    def __str__(self) -> str:
        return f"{self.keeper.__name__}.{self.name}"


def methods_of(interface: type) -> dict[str, Callable[..., Any]]:
    return {name: method for name, method in vars(interface).items() if inspect.iscoroutinefunction(method)}


EVERY_PROMISE = pytest.mark.parametrize(
    "promise",
    [
        Promise(keeper, name, method)
        for interface, keeper in CONTRACTS.items()
        for name, method in methods_of(interface).items()
    ],
    ids=str,
)
EVERY_CONTRACT = pytest.mark.parametrize("contract", STORES, ids=lambda contract: contract.__name__)


def parameters_of(method: Callable[..., Any]) -> list[Parameter]:
    return list(inspect.signature(method).parameters.values())[1:]


def test_the_interface_has_64_methods() -> None:
    assert {interface.__name__: len(methods_of(interface)) for interface in CONTRACTS} == {
        "SessionStore": 7,
        "RedisSessionStore": 3,
        "ConfigStore": 33,
        "MemoryStore": 9,
        "AuditStore": 5,
        "ProfileStore": 7,
    }


@EVERY_PROMISE
def test_the_method_exists_and_is_a_coroutine_function(promise: Promise) -> None:
    assert inspect.iscoroutinefunction(getattr(promise.keeper, promise.name, None))


@EVERY_PROMISE
def test_parameters_have_the_same_order_kind_and_default(promise: Promise) -> None:
    kept = parameters_of(getattr(promise.keeper, promise.name))
    for index, wanted in enumerate(parameters_of(promise.required)):
        if wanted.kind is Parameter.VAR_KEYWORD:
            continue
        found = next((parameter for parameter in kept if parameter.name == wanted.name), None)
        assert found is not None, f"{promise} no longer takes {wanted.name}"
        assert found.kind is wanted.kind, f"{promise}: {wanted.name} must be {wanted.kind.description}"
        assert found.default == wanted.default, f"{promise}: the default of {wanted.name} is {wanted.default!r}"
        if wanted.kind is Parameter.POSITIONAL_OR_KEYWORD:
            assert kept[index].name == wanted.name, f"{promise}: {wanted.name} must be argument {index + 1}"


@EVERY_PROMISE
def test_further_parameters_are_optional_keywords(promise: Promise) -> None:
    required_names = {parameter.name for parameter in parameters_of(promise.required)}
    for parameter in parameters_of(getattr(promise.keeper, promise.name)):
        if parameter.name not in required_names:
            assert parameter.kind is Parameter.KEYWORD_ONLY, f"{promise}: {parameter.name} must be keyword-only"
            assert parameter.default is not Parameter.empty, f"{promise}: {parameter.name} needs a default"


@EVERY_PROMISE
def test_types_of_parameters_and_results_are_the_same(promise: Promise) -> None:
    # What pydantic calls an aware datetime is a class at run time, and a datetime to a type checker.
    kept = typing.get_type_hints(getattr(promise.keeper, promise.name), localns={"UtcDatetime": datetime})
    wanted = typing.get_type_hints(promise.required)
    open_ended = {p.name for p in parameters_of(promise.required) if p.kind is Parameter.VAR_KEYWORD}
    assert {name: kept.get(name) for name in wanted if name not in open_ended} == {
        name: hint for name, hint in wanted.items() if name not in open_ended
    }


@EVERY_CONTRACT
def test_contracts_cannot_be_instantiated(contract: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        contract()


@pytest.mark.parametrize("interface", CONTRACTS, ids=lambda interface: interface.__name__)
def test_required_methods_are_abstract_in_the_contract(interface: type) -> None:
    contract: Any = CONTRACTS[interface] if CONTRACTS[interface] in STORES else contracts.SessionStore
    # Every store answers `health_check` alike, so it is written once.
    assert set(methods_of(interface)) - {"health_check"} <= contract.__abstractmethods__


@EVERY_CONTRACT
def test_stores_derive_from_their_contract_and_have_its_signatures(contract: type) -> None:
    for store in STORES[contract]:
        assert issubclass(store, contract)
        for name, method in methods_of(contract).items():
            assert inspect.signature(getattr(store, name)) == inspect.signature(method), f"{store.__name__}.{name}"


def keeps_its_types(
    session: contracts.SessionStore,
    redis_session: redis.RedisSessionStore,
    memory: contracts.MemoryStore,
    audit: contracts.AuditStore,
    profile: contracts.ProfileStore,
) -> tuple[
    required.SessionStore,
    required.RedisSessionStore,
    required.MemoryStore,
    required.AuditStore,
    required.ProfileStore,
]:
    """Never called: the type checker compares the interfaces. (`**filters` it cannot compare, so not configuration.)"""
    return session, redis_session, memory, audit, profile
