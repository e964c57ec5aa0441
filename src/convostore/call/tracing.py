"""A span per contract call, by OpenTelemetry's database conventions, if the application collects any."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from convostore.call.call import Call, Proceed

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]


class Trace:
    """Runs a call in a span.

    Names and attributes are those of OpenTelemetry's "Semantic conventions for database client spans", 1.33.

    Args:
        system: the backend's name in `db.system.name`.
    """

    def __init__(self, system: str) -> None:
        self._system = system
        if trace is not None:
            trace.get_tracer_provider()  # the one that the environment names, if it does

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Run the call."""
        return self._in_span(call, proceed) if _collected() else proceed(call)

    async def _in_span(self, call: Call, proceed: Proceed) -> Any:
        attributes = {
            "db.system.name": self._system,
            "db.operation.name": call.operation,
            "db.collection.name": call.store,
        }
        with trace.get_tracer("convostore").start_as_current_span(
            f"{call.operation} {call.store}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await proceed(call)
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise


def _collected() -> bool:
    """Return whether the application collects spans: until it sets a provider, the API only stands in for one.

    Relies on: `_TRACER_PROVIDER` is the provider that is set. `get_tracer_provider` looks for one in the environment as
    long as there is none, which takes as long as four interceptors.
    """
    return getattr(trace, "_TRACER_PROVIDER", None) is not None
