"""Every public method of every store meets every fault: it ends in time, as promised, and leaves nothing behind.

`tests.round_trips.calls` calls every method of each contract, which its own test proves by introspection. What a call
may make of a fault is the table of `tests.faults.expected`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from convostore.call.call import Call, Proceed
from convostore.call.effects import Effect
from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConnectionError, StoreError
from convostore.redis import RedisSessionStore
from convostore.testing.factories import make_session
from convostore.testing.faults import LostAnswers
from tests.cluster.nodes import Node, eventually, free_ports, running_cluster
from tests.faults.cancelled import Cancelled
from tests.faults.disturbed import Disturbed, Section
from tests.faults.expected import EXPECTED, Kind
from tests.faults.fault import Fault
from tests.faults.kinds import FAULTS, NO_FAULT, nothing
from tests.faults.network import network
from tests.faults.quiet import quiet_loop
from tests.faults.servers import DEADLY, VALKEY
from tests.faults.world import Side, World, opened
from tests.postgres.databases import connected
from tests.processes import kill, private_directory
from tests.round_trips import calls
from tests.round_trips.turns import turns as call_turns

SECTIONS: dict[str, tuple[Section, tuple[Side, ...]]] = {
    "sessions on Redis": (calls.sessions, ("redis",)),
    "sessions on PostgreSQL": (calls.sessions, ("postgres",)),
    "sessions, tiered": (calls.sessions, ("postgres", "redis")),
    "turns on PostgreSQL": (call_turns, ("postgres",)),
    "turns, tiered": (call_turns, ("postgres", "redis")),
    "config": (calls.config, ("postgres",)),
    "memory": (calls.memory, ("postgres",)),
    "audit": (calls.audit, ("postgres",)),
    "profiles": (calls.profiles, ("postgres",)),
}

SERVERS: dict[Side, str] = {"postgres": "PostgreSQL 18", "redis": "Valkey"}

SAMPLE = {
    ("sessions on Redis", "reset after delivery, once"),
    ("sessions, tiered", "reset after delivery, once"),
    ("turns on PostgreSQL", "answer lost"),
    ("turns, tiered", "answer lost, once"),
    ("turns, tiered", "reset after delivery, once"),
    ("memory", "answer lost"),
    ("profiles", "answer lost, once"),
}
"""What `make test` runs."""


def cases(faults: Iterable[Fault], *, side: Side | None = None, sample: Iterable[Any] = ()) -> list[Any]:
    """Return the cases of faults for every section that uses their server, of one side if it is given."""
    return [
        pytest.param(
            section,
            fault,
            id=f"{section}-{fault.side}-{fault.name}",
            marks=[] if (section, fault.name) in sample else pytest.mark.trust,
        )
        for section, (_, sides) in SECTIONS.items()
        for fault in faults
        if fault.side in sides and side in (None, fault.side)
    ]


@pytest.fixture(scope="module")
async def world(engines: Embedded) -> AsyncIterator[World]:
    """The servers that all tests share."""
    async with opened(engines, engines) as made:
        yield made


@pytest.fixture(scope="module")
async def mortal_world() -> AsyncIterator[World]:
    """Servers that may be killed, of which PostgreSQL has few connections."""
    with private_directory() as path:
        (port,) = free_ports(1)
        node = Node(path / "valkey", ("--appendonly", "yes", "--appendfsync", "no"), port)
        async with open_embedded(ephemeral=True, valkey=False) as engine:
            async with connected(engine.postgres_dsn) as admin:
                await admin.execute("ALTER SYSTEM SET max_connections = 12")
            pid = engine.postgres_pid
            assert pid is not None
            kill(pid)
            await engine.wait_ready(without=pid)
            node.start()
            try:
                await eventually(node.answers, "it answers")
                async with opened(engine, node) as made:
                    yield made
            finally:
                node.kill()


@pytest.fixture(scope="module")
async def world16(engines: Embedded, postgres16: Embedded) -> AsyncIterator[World]:
    """PostgreSQL 16."""
    async with opened(postgres16, engines) as made:
        yield made


@pytest.fixture(scope="module")
async def cluster_world(engines: Embedded) -> AsyncIterator[World]:
    """A cluster of Valkey."""
    with private_directory() as path:
        async with running_cluster(path) as cluster, opened(engines, cluster) as made:
            yield made


async def disturb(section: str, fault: Fault, world: World, facts: dict[str, Any], server: str | None = None) -> None:
    """Call every method of a section under a fault."""
    call, _ = SECTIONS[section]
    counts: Counter[str] = Counter()
    with quiet_loop():
        await call(*(Disturbed(store, world, fault, counts) for store in world.stores(section)))
    facts[f"faults: {server or SERVERS[fault.side]}: {fault.name}: {section}"] = dict(counts)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("section", "fault"), cases(FAULTS, sample=SAMPLE))
async def test_every_method_under_a_fault(
    section: str, fault: Fault, world: World, trust_facts: dict[str, Any]
) -> None:
    await disturb(section, fault, world, trust_facts)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("section", "fault"), cases(DEADLY))
async def test_every_method_while_a_server_is_killed_or_exhausted(
    section: str, fault: Fault, mortal_world: World, trust_facts: dict[str, Any]
) -> None:
    await disturb(section, fault, mortal_world, trust_facts)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("section", "fault"), cases([fault for fault in FAULTS if fault.since <= 16], side="postgres"))
async def test_every_method_under_a_fault_of_postgresql_16(
    section: str, fault: Fault, world16: World, trust_facts: dict[str, Any]
) -> None:
    await disturb(section, fault, world16, trust_facts, "PostgreSQL 16")


# A node that is frozen loses its slots to a replica: tests/cluster/test_failover.py.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("section", "fault"), cases([*network("redis"), *(fault for fault in VALKEY if fault.name != "frozen")])
)
async def test_every_method_under_a_fault_of_a_cluster(
    section: str, fault: Fault, cluster_world: World, trust_facts: dict[str, Any]
) -> None:
    await disturb(section, fault, cluster_world, trust_facts, "Valkey Cluster")


@pytest.mark.trust
@pytest.mark.timeout(600)
@pytest.mark.parametrize("section", SECTIONS)
async def test_every_method_is_cancelled_at_every_await(
    section: str, world: World, trust_facts: dict[str, Any]
) -> None:
    call, _ = SECTIONS[section]
    counts: Counter[str] = Counter()
    with quiet_loop():
        await call(*(Cancelled(store, world, NO_FAULT, counts) for store in world.stores(section)))
    assert counts["cancelled"] >= counts["calls"]
    trust_facts[f"cancelled: {section}"] = dict(counts)


class Lie:
    """Interceptor that ends a call otherwise than it has ended.

    Args:
        error: makes what it raises instead; without one, it answers.
        runs: whether the call runs first.
        writes: whether it changes what it was given.
    """

    def __init__(self, error: Callable[[], StoreError] | None, *, runs: bool = False, writes: bool = False) -> None:
        self._error, self._runs, self._writes = error, runs, writes

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        result = await proceed(call) if self._runs or self._error is None else None
        if self._writes:
            call.arguments["session"].turn_count += 1
        if self._error is not None:
            raise self._error()
        return result


def lost(**given: Any) -> Callable[[], StoreError]:
    return lambda: ConnectionError("planted", **{"code": "planted", **given})


LIES = {
    "not applied, though it was": (Kind.UNANSWERED, Lie(lost(), runs=True), "it was applied, and says not_applied"),
    "applied, though nothing arrives": (Kind.UNDELIVERED, Lie(lost(outcome="unknown"), runs=True), "could not arrive"),
    "unknown, though nothing is sent": (Kind.UNREACHABLE, Lie(lost(outcome="unknown")), "the wrong outcome: unknown"),
    "unknown, though the server said no": (Kind.ENDED, Lie(lost(outcome="unknown")), "the wrong outcome: unknown"),
    "not to be retried": (Kind.UNANSWERED, Lie(lost(retryable=False)), "not retryable"),
    "of no known kind": (Kind.UNANSWERED, Lie(lambda: StoreError("planted")), "the wrong class"),
    "for no reason": (Kind.UNANSWERED, Lie(lost(code=None)), "it does not say why"),
    "failed, though it could repeat itself": (Kind.CUT_ONCE, Lie(lost(outcome="unknown")), "it failed"),
    "failed, though nothing is lost": (Kind.SLOW, Lie(lost()), "it failed"),
    "answered by nobody": (Kind.UNREACHABLE, Lie(None), "no server was there"),
    "given back another": (Kind.UNANSWERED, Lie(lost(), writes=True), "changed what it was given"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_store_that_lies_about_a_fault_is_caught(lie: str, world: World) -> None:
    kind, liar, caught = LIES[lie]
    store = RedisSessionStore(world.client).with_interceptors(liar)
    with pytest.raises(AssertionError, match=caught):
        await Disturbed(store, world, Fault("planted", "redis", nothing, kind), Counter()).save(make_session(uuid4()))


async def test_a_read_whose_outcome_is_unknown_is_caught(world: World) -> None:
    store = RedisSessionStore(world.client).with_interceptors(Lie(lost(outcome="unknown")))
    with pytest.raises(AssertionError, match="the wrong outcome: unknown"):
        await Disturbed(store, world, Fault("planted", "redis", nothing, Kind.UNANSWERED), Counter()).get(uuid4())


async def test_a_lost_answer_that_is_reported_as_unknown_is_as_expected(world: World) -> None:
    store, counts = RedisSessionStore(world.client).with_interceptors(LostAnswers(times=1)), Counter[str]()
    await Disturbed(store, world, Fault("planted", "redis", nothing, Kind.UNANSWERED), counts).save(
        make_session(uuid4()), overwrite=True
    )
    assert counts == {"non_idempotent: unknown timeout, applied": 1}


def test_the_table_has_a_row_for_every_kind_of_fault_and_of_method() -> None:
    assert set(EXPECTED) == set(product(Kind, Effect))
