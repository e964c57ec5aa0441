"""The metrics: every one by name, unit and meaning; and what measures calls and waits for connections.

Names and attributes of `db.client.…` are those of OpenTelemetry's "Semantic conventions for database client metrics",
1.33; all others begin with `convostore`. Counting is always on, as Prometheus's text is read from here as well;
OpenTelemetry reads it if its API is installed and the application sets a meter provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from convostore.call.call import Call, Proceed, running
from convostore.call.instruments import Counter, Gauge, Histogram, Metric, UpDownCounter, Values
from convostore.errors import StoreError

S = TypeVar("S")
P = TypeVar("P")

Pool: TypeAlias = Literal["postgres", "redis"]
"""Where the connections of a pool lead, as in `Health.backends`."""

_STORE, _OPERATION, _ERROR = "db.collection.name", "db.operation.name", "error.type"
_POOL, _STATE = "db.client.connection.pool.name", "db.client.connection.state"
_BACKEND = "convostore.backend"

OPERATION_DURATION = Histogram(
    "db.client.operation.duration",
    "s",
    "Duration of calls of the stores, with their retries.",
    "db.system.name",
    _STORE,
    _OPERATION,
    _ERROR,
)
CALL_RETRIES = Counter(
    "convostore.call.retries",
    "{retry}",
    "Attempts of calls that failed for a passing reason and were repeated.",
    _STORE,
    _OPERATION,
    _ERROR,
)
CALL_UNKNOWN_OUTCOMES = Counter(
    "convostore.call.unknown_outcomes",
    "{call}",
    "Calls that failed and may have been applied.",
    _STORE,
    _OPERATION,
)
CONNECTION_COUNT = UpDownCounter(
    "db.client.connection.count",
    "{connection}",
    "Open connections, in use or idle.",
    _POOL,
    _STATE,
)
CONNECTION_MAX = UpDownCounter(
    "db.client.connection.max",
    "{connection}",
    "Connections that may be open.",
    _POOL,
)
CONNECTION_PENDING_REQUESTS = UpDownCounter(
    "db.client.connection.pending_requests",
    "{request}",
    "Callers that wait for a connection at the moment.",
    _POOL,
)
CONNECTION_WAIT_TIME = Histogram(
    "db.client.connection.wait_time",
    "s",
    "How long callers waited for a connection, opening it included.",
    _POOL,
)
HOT_READS = Counter(
    "convostore.hot.reads",
    "{read}",
    "Sessions read by id in two tiers: from a hot copy (hit) or not (miss).",
    "convostore.hot.result",
)
HOT_FAILURES = Counter(
    "convostore.hot.failures",
    "{failure}",
    "Calls of the hot tier that failed; PostgreSQL answered instead.",
    _ERROR,
)
HOT_BYPASSED = UpDownCounter(
    "convostore.hot.bypassed",
    "{store}",
    "Stores whose circuit breaker leaves the hot tier out at the moment.",
)
VECTOR_SEARCHES = Counter(
    "convostore.vector.searches",
    "{search}",
    "Searches by vector in PostgreSQL: exact, or approximate by an index.",
    _STORE,
    _OPERATION,
    "convostore.vector.strategy",
)
SWEEP_DURATION = Histogram(
    "convostore.sweep.duration",
    "s",
    "Duration of the sweeper's runs.",
    _ERROR,
    bounds=(0.01, 0.1, 1.0, 10.0, 60.0, 600.0),
)
SWEEP_SESSIONS = Counter(
    "convostore.sweep.sessions",
    "{session}",
    "Sessions that sweeps have demoted or deleted.",
    "convostore.sweep.action",
)
SWEEP_TIMESTAMP = Gauge(
    "convostore.sweep.timestamp",
    "s",
    "Unix time at which the sweeper last finished, or started if it never has.",
)
BACKEND_UP = Gauge(
    "convostore.backend.up",
    "",
    "Whether the server answered the last probe and is as this release needs it.",
    _BACKEND,
)
BACKEND_LATENCY = Gauge(
    "convostore.backend.latency",
    "s",
    "How long the server took to answer the last probe.",
    _BACKEND,
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)}
"""All metrics, by name."""


def _export() -> None:
    """Offer the metrics to OpenTelemetry, which reads them once the application sets a provider."""
    try:
        from opentelemetry.metrics import get_meter
    except ImportError:
        return
    meter = get_meter("convostore")
    for metric in METRICS.values():
        metric.export(meter)


_export()


class Measure:
    """Measures a call, unless it is made inside another, of which it is a part.

    Args:
        system: the backend's name in `db.system.name`.
    """

    def __init__(self, system: str) -> None:
        self._system = system

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run the call."""
        if running.get() is not None:
            return await proceed(call)
        started, failure = perf_counter(), ""
        try:
            return await proceed(call)
        except BaseException as error:
            failure = type(error).__name__
            if isinstance(error, StoreError) and error.outcome == "unknown":
                CALL_UNKNOWN_OUTCOMES.add(call.store, call.operation)
            raise
        finally:
            OPERATION_DURATION.record(perf_counter() - started, self._system, call.store, call.operation, failure)


class PoolUse(NamedTuple):
    """How many connections of a pool are in use, how many are idle, and how many may be open."""

    used: int
    idle: int
    most: int


def watch_pool(name: Pool, owner: S, pool: Callable[[S], P], use: Callable[[P], PoolUse]) -> None:
    """Include a pool in the figures as long as an owner of it lives.

    Args:
        name: where its connections lead.
        owner: what has the pool.
        pool: returns the owner's pool.
        use: tells how a pool is used.
    """

    def states(found: P) -> dict[Values, float]:
        used, idle, _ = use(found)
        return {(name, "used"): used, (name, "idle"): idle}

    CONNECTION_COUNT.watch(owner, states, source=pool)
    CONNECTION_MAX.watch(owner, lambda found: {(name,): use(found).most}, source=pool)


class Waiting:
    """Measures how long a block waits for a connection.

    Args:
        pool: where the connection leads.
    """

    __slots__ = ("_pool", "_started")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        CONNECTION_PENDING_REQUESTS.add(self._pool, by=1)
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        CONNECTION_PENDING_REQUESTS.add(self._pool, by=-1)
        CONNECTION_WAIT_TIME.record(perf_counter() - self._started, self._pool)


class MeasuredSemaphore(asyncio.Semaphore):
    """Limits connections to Redis or Valkey, and measures how long callers wait for one to become free."""

    async def acquire(self) -> Literal[True]:
        if not self.locked():
            return await super().acquire()
        with Waiting("redis"):
            return await super().acquire()
