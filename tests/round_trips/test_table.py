"""Every method of every contract costs the round trips, statements and commands that `table.md` says."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import pytest

from convostore.call.store import Store
from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore, TurnStore
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    PostgresTurnStore,
)
from convostore.redis import RedisSessionStore
from convostore.tiered import TieredSessionStore
from tests.round_trips import calls, table
from tests.round_trips.conftest import Counted
from tests.round_trips.metering import Cost, Measured, metered
from tests.round_trips.turns import turns as call_turns

NEVER = timedelta(days=3_650)
"""An age that no session reaches: a sweep looks and finds nothing."""

LEASE = timedelta(hours=1)
"""A lease that no busy machine lets expire during a test."""

TIMEOUT = 20.0
"""A deadline that few busy machines miss: a retry would count. After a longer one promotions set the patience anew."""


class Section(NamedTuple):
    """A part of the table: one contract on one backend.

    Attributes:
        contract: whose methods are called.
        call: calls every method of one or more stores.
        stores: returns the stores.
    """

    contract: type[Store]
    call: Callable[..., Awaitable[None]]
    stores: Callable[[Counted], Sequence[Store]]


def redis_sessions(counted: Counted) -> RedisSessionStore:
    return RedisSessionStore(counted.client, max_age=NEVER, timeout=TIMEOUT)


def postgres_sessions(counted: Counted) -> PostgresSessionStore:
    return PostgresSessionStore(counted.pool, max_age=NEVER, timeout=TIMEOUT)


def tiered_sessions(counted: Counted) -> TieredSessionStore:
    return TieredSessionStore(counted.client, postgres_sessions(counted), hot_lease=LEASE, timeout=TIMEOUT)


def turns(counted: Counted) -> PostgresTurnStore:
    pool = counted.pool
    return PostgresTurnStore(
        tiered_sessions(counted),
        PostgresConfigStore(pool),
        PostgresMemoryStore(pool),
        PostgresAuditStore(pool),
        PostgresProfileStore(pool),
    )


def audit_trails(counted: Counted) -> list[Store]:
    return [PostgresAuditStore(pool, timeout=TIMEOUT) for pool in (counted.pool, counted.maintenance)]


SECTIONS = {
    "SessionStore on Redis": Section(SessionStore, calls.sessions, lambda counted: [redis_sessions(counted)]),
    "SessionStore on PostgreSQL": Section(SessionStore, calls.sessions, lambda counted: [postgres_sessions(counted)]),
    "SessionStore, tiered": Section(SessionStore, calls.sessions, lambda counted: [tiered_sessions(counted)]),
    "TurnStore, tiered": Section(TurnStore, call_turns, lambda counted: [turns(counted)]),
    "ConfigStore on PostgreSQL": Section(
        ConfigStore, calls.config, lambda counted: [PostgresConfigStore(counted.pool, timeout=TIMEOUT)]
    ),
    "MemoryStore on PostgreSQL": Section(
        MemoryStore, calls.memory, lambda counted: [PostgresMemoryStore(counted.pool, timeout=TIMEOUT)]
    ),
    "AuditStore on PostgreSQL": Section(AuditStore, calls.audit, audit_trails),
    "ProfileStore on PostgreSQL": Section(
        ProfileStore, calls.profiles, lambda counted: [PostgresProfileStore(counted.pool, timeout=TIMEOUT)]
    ),
}


def methods(contract: type[Store]) -> set[str]:
    """Return the names of the methods that reach a backend: all that are public, but those that return a store."""
    functions = inspect.getmembers(contract, inspect.isfunction)
    return {
        name
        for name, function in functions
        if not name.startswith("_") and inspect.signature(function).return_annotation != "Self"
    }


@pytest.mark.parametrize("title", SECTIONS)
async def test_every_call_costs_what_the_table_says(title: str, counted: Counted, pytestconfig: pytest.Config) -> None:
    section, meter = SECTIONS[title], counted.meter
    stores = section.stores(counted)
    # The first time connects, prepares statements and loads scripts.
    for _ in range(2):
        meter.costs.clear()
        await section.call(*(metered(store, meter) for store in stores))
    recorded = table.read()
    if pytestconfig.getoption("--write-round-trips"):
        table.write({name: meter.costs if name == title else recorded.get(name, {}) for name in SECTIONS})
        return
    if found := table.differences(recorded[title], meter.costs):
        pytest.fail(
            "\n  ".join([f"{title} costs something else than tests/round_trips/table.md says:", *found])
            + f"\nIf that is meant, run `{table.REWRITE}` and give the reason in the commit message.",
            pytrace=False,
        )


# These stand below the test that rewrites the table, so that they look at what it wrote.
def test_the_table_has_every_contract_and_nothing_else() -> None:
    assert list(table.read()) == list(SECTIONS)


@pytest.mark.parametrize("title", SECTIONS)
def test_every_method_has_a_row_and_every_row_a_method(title: str) -> None:
    assert {call.method for call in table.read()[title]} == methods(SECTIONS[title].contract)


def test_a_difference_is_told_by_call_and_column() -> None:
    same, dearer, gone, new = (Measured("get", case) for case in ("hot", "", "gone", "new"))
    cost = Cost(0, 0, 1, 1, 0)
    recorded = {same: cost, dearer: cost, gone: cost}
    assert table.differences(recorded, recorded) == []
    assert table.differences(recorded, {same: cost, dearer: Cost(1, 1, 1, 1, 0), new: cost}) == [
        "get: PostgreSQL round trips 0 → 1, statements 0 → 1",
        "get (gone): in the table, but not measured",
        "get (new): measured, but not in the table",
    ]
