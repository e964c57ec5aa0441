"""Contract calls are spans of the application's OpenTelemetry provider."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry import trace

from convostore.errors import ConflictError, ValidationError
from convostore.inmemory import InMemoryConfigStore
from convostore.testing.factories import make_agent
from tests.unit.scripted import ScriptedSessions


class Recorded(trace.NonRecordingSpan):
    """A span that records its attributes and status."""

    def __init__(self, name: str, kind: trace.SpanKind, attributes: Any) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self.name, self.kind, self.attributes = name, kind, dict(attributes)
        self.status: Any = None
        self.messages: list[str] = []
        self.ended = False

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.status = status
        self.messages += [description] if description else []

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self.messages.append(f"{name} {attributes}")

    def record_exception(self, exception: BaseException, *args: Any, **kwargs: Any) -> None:
        self.messages.append(str(exception))

    def end(self, end_time: int | None = None) -> None:
        self.ended = True


class Provider(trace.TracerProvider, trace.Tracer):
    """An application's provider, and the tracer it provides."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return self

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Recorded:
        self.spans.append(Recorded(name, kwargs["kind"], kwargs["attributes"]))
        return self.spans[-1]

    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
        how = {key: kwargs.pop(key) for key in ("record_exception", "set_status_on_exception")}
        return trace.use_span(self.start_span(name, *args, **kwargs), end_on_exit=True, **how)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    provider = Provider()
    # A provider can be set only once in a process.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider.spans


async def test_a_call_is_a_span(spans: list[Recorded]) -> None:
    store, agent = InMemoryConfigStore(), make_agent(uuid4())
    await store.save_agent(agent)
    await store.get_agent(agent.tenant_id, agent.id)
    assert [span.name for span in spans] == ["save_agent config", "get_agent config"]
    assert spans[0].attributes == {
        "db.system.name": "memory",
        "db.operation.name": "save_agent",
        "db.collection.name": "config",
    }
    assert all(span.kind is trace.SpanKind.CLIENT and span.ended and span.status is None for span in spans)


async def test_a_failure_is_named_without_its_message(spans: list[Recorded]) -> None:
    store, agent = InMemoryConfigStore(), make_agent(uuid4())
    await store.save_agent(agent)
    with pytest.raises(ConflictError):
        await store.save_agent(make_agent(agent.tenant_id, name=agent.name))
    with pytest.raises(ValidationError):
        await store.get_agent("nobody", agent.id)  # type: ignore[arg-type]
    _, conflict, invalid = spans
    assert conflict.attributes["error.type"] == "ConflictError"
    assert invalid.attributes["error.type"] == "ValidationError"
    assert all(
        span.ended and span.status is trace.StatusCode.ERROR and span.messages == [] for span in (conflict, invalid)
    )


async def test_a_cancelled_call_ends_its_span(spans: list[Recorded]) -> None:
    asked = asyncio.Event()

    async def for_ever() -> None:
        asked.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(ScriptedSessions(for_ever).get(uuid4()))
    await asked.wait()
    assert not spans[0].ended
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert spans[0].ended
    assert spans[0].attributes["error.type"] == "CancelledError"


async def test_without_a_provider_a_call_has_no_span() -> None:
    assert await InMemoryConfigStore().get_agent(uuid4(), uuid4()) is None
    assert not trace.get_current_span().is_recording()


def test_a_provider_that_the_environment_names_collects_spans() -> None:
    program = (
        "import asyncio, uuid; from opentelemetry import trace; from convostore.inmemory import InMemoryConfigStore; "
        "asyncio.run(InMemoryConfigStore().get_agent(uuid.uuid4(), uuid.uuid4())); "
        "print(type(trace._TRACER_PROVIDER).__name__)"
    )
    named = {**os.environ, "OTEL_PYTHON_TRACER_PROVIDER": "default_tracer_provider"}
    ran = subprocess.run([sys.executable, "-c", program], env=named, capture_output=True, text=True, check=True)
    assert ran.stdout == "NoOpTracerProvider\n"
