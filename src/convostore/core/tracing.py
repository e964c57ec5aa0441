"""A span per contract call, by OpenTelemetry's database conventions, if its API is installed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]


def span(store: str, system: str, operation: str) -> AbstractContextManager[Any]:
    """Return the context in which one call runs."""
    if trace is None:
        return nullcontext()
    return trace.get_tracer("convostore").start_as_current_span(
        f"{operation} {store}",
        kind=trace.SpanKind.CLIENT,
        attributes={"db.system.name": system, "db.operation.name": operation, "db.collection.name": store},
        # The boundary raises only what may be seen; the span records the type, not the message.
        record_exception=False,
    )
