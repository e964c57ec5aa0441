"""A span per contract call, by OpenTelemetry's database conventions, if the application collects any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]


def span(store: str, system: str, operation: str) -> AbstractContextManager[Any]:
    """Return the context in which one call runs.

    Names and attributes are those of OpenTelemetry's "Semantic conventions for database client spans", 1.33.
    """
    if trace is None:
        return nullcontext()
    # Until the application sets a provider, the API only stands in for one.
    nobody = isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    return nullcontext() if nobody else _span(store, system, operation)


@contextmanager
def _span(store: str, system: str, operation: str) -> Iterator[None]:
    attributes = {"db.system.name": system, "db.operation.name": operation, "db.collection.name": store}
    with trace.get_tracer("convostore").start_as_current_span(
        f"{operation} {store}",
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise
