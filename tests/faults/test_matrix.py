"""Every public method of every store meets every fault: it ends in time, as promised, and leaves nothing behind.

`tests.round_trips.calls` calls every method of each contract, which its own test proves by introspection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from convostore.embedded import Embedded
from tests.faults.cancelled import Cancelled
from tests.faults.disturbed import Disturbed, Section
from tests.faults.kinds import FAULTS, NO_FAULT, Fault, Side
from tests.faults.world import World, opened
from tests.round_trips import calls

SECTIONS: dict[str, tuple[Section, tuple[Side, ...]]] = {
    "sessions on Redis": (calls.sessions, ("redis",)),
    "sessions on PostgreSQL": (calls.sessions, ("postgres",)),
    "sessions, tiered": (calls.sessions, ("postgres", "redis")),
    "config": (calls.config, ("postgres",)),
    "memory": (calls.memory, ("postgres",)),
    "audit": (calls.audit, ("postgres",)),
    "profiles": (calls.profiles, ("postgres",)),
}

SAMPLE = {
    ("sessions on Redis", "reset after delivery, once"),
    ("sessions, tiered", "reset after delivery, once"),
    ("memory", "reset after delivery"),
    ("profiles", "reset after delivery, once"),
}
"""What `make test` runs."""

CASES = [
    pytest.param(
        section,
        fault,
        id=f"{section}-{fault.side}-{fault.name}",
        marks=[] if (section, fault.name) in SAMPLE else pytest.mark.trust,
    )
    for section, (_, sides) in SECTIONS.items()
    for fault in FAULTS
    if fault.side in sides
]


@pytest.fixture(scope="module")
async def world(engines: Embedded) -> AsyncIterator[World]:
    """The servers behind proxies."""
    async with opened(engines) as made:
        yield made


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("section", "fault"), CASES)
async def test_every_method_under_a_fault(
    section: str, fault: Fault, world: World, trust_facts: dict[str, Any]
) -> None:
    call, _ = SECTIONS[section]
    counts: Counter[str] = Counter()
    await call(*(Disturbed(store, world, fault, counts) for store in world.stores(section)))
    trust_facts[f"faults: {section}, {fault.side}: {fault.name}"] = dict(counts)


@pytest.mark.trust
@pytest.mark.timeout(600)
@pytest.mark.parametrize("section", SECTIONS)
async def test_every_method_is_cancelled_at_every_await(
    section: str, world: World, trust_facts: dict[str, Any]
) -> None:
    call, _ = SECTIONS[section]
    counts: Counter[str] = Counter()
    await call(*(Cancelled(store, world, NO_FAULT, counts) for store in world.stores(section)))
    assert counts["cancelled"] >= counts["calls"]
    trust_facts[f"faults: {section}, cancelled at every await"] = dict(counts)
