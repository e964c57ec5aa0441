"""Metrics are counted in one place, which OpenTelemetry and Prometheus both read."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry import metrics

from convostore.call.exposition import exposed
from convostore.call.instruments import Counter, Gauge, Histogram, Metric, UpDownCounter
from convostore.call.metrics import METRICS
from convostore.errors import ConnectionError
from convostore.inmemory import InMemorySessionStore
from convostore.operations.sweeping import sweep_for_ever
from convostore.testing.factories import make_session
from tests.counting import Counted
from tests.unit.scripted import ScriptedSessions

DURATION = "db.client.operation.duration"

HARMLESS = {
    *("db.system.name", "db.collection.name", "db.operation.name", "error.type", "convostore.backend"),
    *("db.client.connection.pool.name", "db.client.connection.state", "convostore.hot.result"),
    *("convostore.sweep.action", "convostore.vector.strategy"),
}
"""Attributes whose values are names in the code: they tell no tenant, id or address."""


class Meter(metrics.NoOpMeter):
    """A meter that keeps what is made with it."""

    def __init__(self) -> None:
        super().__init__("convostore")
        self.units: dict[str, str] = {}
        self.callbacks: dict[str, Callable[[Any], Iterable[metrics.Observation]]] = {}
        self.recorded: list[tuple[str, float, Any]] = []

    def _observable(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        self.units[name], (self.callbacks[name],) = unit, callbacks

    create_observable_counter = create_observable_gauge = create_observable_up_down_counter = _observable

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Any:
        self.units[name] = unit
        kept = self.recorded

        class Kept(metrics.NoOpHistogram):
            def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
                kept.append((name, amount, attributes))

        return Kept(name)


class Provider(metrics.NoOpMeterProvider):
    """An application's provider."""

    def __init__(self) -> None:
        self.meter = Meter()

    def get_meter(self, *args: Any, **kwargs: Any) -> metrics.Meter:
        return self.meter


@pytest.fixture(scope="session")
def meter() -> Meter:
    """The meter of a provider that is set after the metrics were made, as applications do; once in a process."""
    provider = Provider()
    metrics.set_meter_provider(provider)
    return provider.meter


def text(*given: Metric) -> str:
    return "".join(exposed(given))


def test_no_attribute_tells_a_tenant_an_id_or_an_address() -> None:
    assert {name for metric in METRICS.values() for name in metric.attributes} == HARMLESS


def test_names_are_legal_and_distinct_in_both_exports() -> None:
    names = [metric.prometheus_name for metric in METRICS.values()]
    assert len(set(names)) == len(METRICS)
    assert all(re.fullmatch("[a-z_]+", name) for name in names)
    assert all(re.fullmatch(r"(db\.client|convostore)\.[a-z._]+", name) for name in METRICS)
    assert METRICS[DURATION].prometheus_name == "db_client_operation_duration_seconds"


def test_a_counter_is_a_line_per_attributes_without_those_that_do_not_apply() -> None:
    counter = Counter("a.b", "{call}", "What it is.", "c.d", "e")
    counter.add("x", "")
    counter.add("x", 'quoted "\\')
    counter.add("x", "", by=1_234_567)
    assert text(counter).splitlines() == [
        "# HELP a_b_total What it is.",
        "# TYPE a_b_total counter",
        'a_b_total{c_d="x"} 1234568',
        r'a_b_total{c_d="x",e="quoted \"\\"} 1',
    ]


def test_a_histogram_counts_what_is_at_most_at_each_bound() -> None:
    histogram = Histogram("a", "s", "What it is.", bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.record(value)
    assert text(histogram).splitlines()[2:] == [
        'a_seconds_bucket{le="0.1"} 2',
        'a_seconds_bucket{le="1.0"} 3',
        'a_seconds_bucket{le="+Inf"} 4',
        "a_seconds_sum 7.65",
        "a_seconds_count 4",
    ]


def test_a_gauge_forgets_what_was_not_measured_again() -> None:
    gauge = Gauge("a", "", "What it is.", "b")
    gauge.replace({("x",): 1, ("y",): 2})
    gauge.replace({("y",): 0.5})
    assert text(gauge).splitlines()[2:] == ['a{b="y"} 0.5']


def test_what_several_own_counts_once_as_long_as_one_of_them_lives() -> None:
    class Owner:
        def __init__(self, pool: list[int]) -> None:
            self.pool = pool

    level, shared = UpDownCounter("a", "{each}", "What it is."), [1, 2, 3]
    owners = [Owner(shared), Owner(shared), Owner([1])]
    for owner in owners:
        level.watch(owner, lambda pool: {(): len(pool)}, source=lambda owner: owner.pool)
    level.add(by=1)
    assert level.figures() == {(): 5}
    del owner, owners[1:]
    gc.collect()
    assert level.figures() == {(): 4}
    owners.clear()
    gc.collect()
    assert level.figures() == {(): 1}


def test_a_metric_without_figures_is_not_exposed() -> None:
    assert text(Counter("a", "", ""), Histogram("b", "", "")) == ""


async def test_a_call_inside_another_is_a_part_of_it() -> None:
    async def ask_another() -> None:
        await InMemorySessionStore().get(uuid4())

    counted = Counted()
    await ScriptedSessions(ask_another).get(uuid4())
    assert counted[DURATION] == {("memory", "session", "get", ""): 1}


async def test_a_cancelled_call_counts_as_cancelled() -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    store, counted = ScriptedSessions(for_ever), Counted()
    call = asyncio.create_task(store.get(uuid4()))
    await store.started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert counted[DURATION] == {("memory", "session", "get", "CancelledError"): 1}


async def test_opentelemetry_reads_what_prometheus_reads(meter: Meter) -> None:
    store, failure = ScriptedSessions(ConnectionError("lost", outcome="unknown")), Counted()
    await store.save(make_session(uuid4()))
    assert {name: metric.unit for name, metric in METRICS.items()} == meter.units
    name, seconds, attributes = meter.recorded[-1]
    assert (name, attributes) == (
        DURATION,
        {"db.system.name": "memory", "db.collection.name": "session", "db.operation.name": "save"},
    )
    assert seconds > 0
    assert failure["convostore.call.retries"] == {("session", "save", "ConnectionError"): 1}
    for name, read in meter.callbacks.items():
        metric = METRICS[name]
        observed = [("", each.attributes, each.value) for each in read(None)]
        assert observed == list(metric.samples())


async def test_sweeps_count_with_what_they_did() -> None:
    swept = asyncio.Event()
    counted, store = Counted(), InMemorySessionStore()
    sweeping = asyncio.create_task(sweep_for_ever(store, 0.01, finished=lambda _: swept.set()))
    await swept.wait()
    store._end_lifetime()
    while ("StoreError",) not in counted["convostore.sweep.duration"]:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    sweeping.cancel()
    await asyncio.wait({sweeping})
    assert counted["convostore.sweep.duration"][("",)] >= 1
    assert counted["convostore.sweep.timestamp"][()] > 0


def test_without_opentelemetry_calls_are_counted_as_well() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import asyncio, uuid\n"
        "from convostore.inmemory import InMemoryConfigStore\n"
        "from convostore.call.metrics import OPERATION_DURATION\n"
        "asyncio.run(InMemoryConfigStore().get_agent(uuid.uuid4(), uuid.uuid4()))\n"
        "print(*OPERATION_DURATION.distributions())"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert finished.stdout.strip() == str(("memory", "config", "get_agent", ""))
