"""No log, span, warning or error tells what a call carried, whether it succeeds, is refused or is cut off."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from convostore.call.effects import Effect
from convostore.testing.faults import Flow
from convostore.testing.isolation.calls import calls_of, methods_of
from convostore.testing.isolation.contract import contract_of, filled
from convostore.testing.isolation.worlds import Ids, World, made
from tests.secrets.canaries import Planting, planted, replaced, spoiled
from tests.secrets.servers import BACKENDS, Servers
from tests.secrets.watching import watching
from tests.unit.examples import EXAMPLES

FAULTS = {
    "reset before delivery": lambda: (Flow(cut_after=0), Flow()),
    "reset in the middle of delivery": lambda: (Flow(cut_after=20), Flow()),
    "reset in the middle of the answer": lambda: (Flow(), Flow(cut_after=20)),
    "reset after delivery": lambda: (Flow(), Flow(cut_after=0)),
    "silence": lambda: (Flow(silent=True), Flow(silent=True)),
}
"""What happens to the connections of a call."""

HURRY = 0.1
"""The deadline, in seconds, of calls that cannot succeed."""


IN_MEMORY = [backend for backend in BACKENDS if backend.startswith("in memory")]
CONNECTED = [backend for backend in BACKENDS if backend not in IN_MEMORY]


def trusted(backend: str, *sample: str) -> Any:
    """Return a parameter that runs by default if it is one of the sample."""
    return pytest.param(backend, id=backend, marks=[] if backend in sample else pytest.mark.trust)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", [trusted(backend, *CONNECTED) for backend in BACKENDS])
async def test_a_call_tells_no_content(
    servers: Servers, backend: str, request: pytest.FixtureRequest, trust_facts: dict[str, Any]
) -> None:
    required = not request.config.getoption("trust")
    with watching() as watch:
        async with servers.store(backend) as store:
            contract = contract_of(store)
            planting = store.with_interceptors(Planting(contract))
            world = await filled(planting, Ids())
            for method in methods_of(contract):
                for arguments in calls_of(method, world, store.kind, required=required):
                    await watch.call(planting, method.name, **arguments)
                    if method.effect is not Effect.READ:
                        await watch.call(store, method.name, **planted(contract, method.name, arguments, "_z"))
            watch.hear("repr", f"{store!r} {planting!r} {store.for_tenant(world.tenant)!r}")
    assert list(watch.leaks) == []
    assert watch.kept
    assert watch.errors["ConflictError"]
    assert watch.said["log"] >= watch.errors.total() <= watch.said["span"]
    trust_facts[f"secrets: calls, {backend}"] = {**watch.said}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", [trusted(backend, *IN_MEMORY) for backend in BACKENDS])
async def test_a_refusal_tells_no_content(
    servers: Servers, backend: str, request: pytest.FixtureRequest, trust_facts: dict[str, Any]
) -> None:
    thorough = request.config.getoption("trust")
    with watching() as watch:
        async with servers.store(backend) as store:
            contract, world = contract_of(store), made(World(uuid4(), Ids()), store.kind)
            for method in methods_of(contract):
                valid = next(calls_of(method, world, store.kind), {})
                for arguments in spoiled(contract, method.name, valid, thorough=thorough):
                    await watch.call(store, method.name, **arguments)
    assert list(watch.leaks) == []
    assert watch.errors["ValidationError"] >= 50
    trust_facts[f"secrets: refusals, {backend}"] = {**watch.said}


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_a_model_that_cannot_be_made_tells_no_content(model: type[Any]) -> None:
    with watching() as watch:
        for bad in replaced(EXAMPLES[model], model, thorough=True):
            try:
                model.model_validate(bad)
            except ValueError as error:
                watch.hear_error(error, model.__name__)
    assert list(watch.leaks) == []
    assert watch.errors.total()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", [trusted(backend, "tiered, sessions") for backend in CONNECTED])
@pytest.mark.parametrize("fault", [trusted(fault, "reset after delivery") for fault in FAULTS])
async def test_a_lost_connection_tells_no_content(
    servers: Servers, backend: str, fault: str, trust_facts: dict[str, Any]
) -> None:
    with watching() as watch:
        async with servers.store(backend) as store:
            contract = contract_of(store)
            world = await filled(store.with_interceptors(Planting(contract)), Ids())
            for method in methods_of(contract):
                arguments = planted(contract, method.name, next(calls_of(method, world, store.kind)))
                for proxy in servers.proxies:
                    proxy.to_server, proxy.to_client = FAULTS[fault]()
                await watch.call(store.within(HURRY), method.name, **arguments)
                for proxy in servers.proxies:
                    proxy.heal()
    assert list(watch.leaks) == []
    assert watch.errors["ConnectionError"]
    trust_facts[f"secrets: {fault}, {backend}"] = {**watch.said}
