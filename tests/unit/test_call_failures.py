"""A failure leaves the store as one of its errors and is logged once, without content."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.inmemory import InMemoryAuditStore, InMemoryProfileStore
from convostore.testing.factories import make_field, make_session, make_turn
from tests.unit.scripted import DriverError, ScriptedSessions

EXTRAS = {"store", "operation", "tenant_id", "entity_id", "code", "outcome", "duration"}
ORDINARY = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
SECRET = "the customer's own words"


class Recorder(logging.Handler):
    """Keeps log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    logger, recorder = logging.getLogger("convostore"), Recorder()
    logger.addHandler(recorder)
    with caplog.at_level(logging.DEBUG, "convostore"):
        yield recorder.records
    logger.removeHandler(recorder)


async def failure_of(error: BaseException, operation: str = "get") -> StoreError:
    store = ScriptedSessions(error)
    with pytest.raises(StoreError) as caught:
        await getattr(store, operation)(make_session(uuid4()) if operation == "save" else uuid4())
    return caught.value


@pytest.mark.parametrize(
    "foreign", [KeyError(SECRET), RuntimeError(SECRET), ZeroDivisionError(), UnicodeDecodeError("u", b"", 0, 1, SECRET)]
)
async def test_a_foreign_exception_is_the_cause_of_a_store_error(foreign: Exception) -> None:
    error = await failure_of(foreign, "save")
    assert type(error) is StoreError
    assert error.__cause__ is foreign
    assert str(error) == f"The call failed unexpectedly ({type(foreign).__name__})."
    assert (error.retryable, error.outcome) == (False, "unknown")


@pytest.mark.parametrize("foreign", [OSError(SECRET), ConnectionResetError(SECRET), EOFError(), TimeoutError(SECRET)])
async def test_a_network_error_is_a_connection_error(foreign: Exception) -> None:
    error = await failure_of(foreign, "delete")
    if isinstance(foreign, OSError):
        assert type(error) is ConnectionError
        assert error.retryable
        assert error.code == ("timeout" if isinstance(foreign, TimeoutError) else type(foreign).__name__)
    assert error.outcome == "unknown"
    assert error.__cause__ is foreign
    assert SECRET not in str(error)


async def test_a_backend_translates_its_own_errors() -> None:
    driver = DriverError(SECRET)
    error = await failure_of(ConnectionError("refused", retryable=False))
    assert error.code is None
    store = ScriptedSessions(*[driver] * 5)
    with pytest.raises(ConnectionError) as caught:
        await store.get(uuid4())
    assert (caught.value.code, caught.value.__cause__) == ("LOADING", driver)


@pytest.mark.parametrize("kind", [ConflictError, NotFoundError, ValidationError, StoreError])
async def test_a_store_error_passes_unchanged(kind: type[StoreError]) -> None:
    raised = kind("as it is")
    error = await failure_of(raised, "save")
    assert error is raised
    assert error.__cause__ is None
    assert (error.store, error.operation) == ("session", "save")


@pytest.mark.parametrize("operation", ["get", "save", "delete"])
async def test_a_failed_read_was_not_applied(operation: str) -> None:
    error = await failure_of(RuntimeError(), operation)
    assert error.outcome == ("not_applied" if operation == "get" else "unknown")
    assert error.operation == operation


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (DriverError(SECRET), logging.ERROR),
        (RuntimeError(SECRET), logging.ERROR),
        (StoreError(SECRET), logging.ERROR),
        (ConflictError(SECRET, code="session_pkey"), logging.INFO),
        (NotFoundError(SECRET), logging.INFO),
        (ValidationError(SECRET), logging.INFO),
    ],
    ids=repr,
)
async def test_a_failure_is_logged_once_with_its_context(
    failure: Exception, level: int, log: list[logging.LogRecord]
) -> None:
    session = make_session(uuid4(), variables={"said": SECRET}, user_channel_id=SECRET)
    with pytest.raises(StoreError) as caught:
        await ScriptedSessions(*[failure] * 5).save(session)
    (record,) = log
    assert (record.name, record.levelno) == ("convostore.session", level)
    assert record.getMessage() == f"session.save failed: {type(caught.value).__name__}"
    extras: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in ORDINARY}
    assert set(extras) == EXTRAS
    assert 0 <= extras.pop("duration") < 5
    assert extras == {
        "store": "session",
        "operation": "save",
        "tenant_id": str(session.tenant_id),
        "entity_id": str(session.session_id),
        "code": caught.value.code,
        "outcome": caught.value.outcome,
    }
    assert SECRET not in logging.Formatter("%(message)s").format(record) + repr(vars(record))


async def test_a_call_that_a_retry_saves_is_not_logged(log: list[logging.LogRecord]) -> None:
    await ScriptedSessions(DriverError("loading"), ConnectionError("lost", outcome="unknown")).get(uuid4())
    assert log == []


async def test_the_log_names_the_entity_of_a_call_without_a_model(log: list[logging.LogRecord]) -> None:
    tenant, profile, session = uuid4(), uuid4(), uuid4()
    with pytest.raises(NotFoundError):
        await InMemoryProfileStore().update_field(tenant, profile, make_field(value=SECRET))
    with pytest.raises(StoreError):
        await ScriptedSessions(RuntimeError()).get(session, tenant_id=tenant)
    with pytest.raises(StoreError):
        await ScriptedSessions(RuntimeError()).for_tenant(tenant).delete(session)
    found = [(vars(record)["tenant_id"], vars(record)["entity_id"]) for record in log]
    assert found == [(str(tenant), str(profile)), (str(tenant), str(session)), (str(tenant), str(session))]


async def test_an_invalid_argument_is_logged_once_without_its_value(log: list[logging.LogRecord]) -> None:
    with pytest.raises(ValidationError) as caught:
        await InMemoryAuditStore().save_turn({"user_message": SECRET})  # type: ignore[arg-type]
    (record,) = log
    assert record.getMessage() == "audit.save_turn failed: ValidationError"
    assert SECRET not in repr(vars(record))
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


async def test_a_conflict_does_not_quote_the_record(log: list[logging.LogRecord]) -> None:
    store, turn = InMemoryAuditStore(), make_turn(uuid4(), user_message=SECRET)
    await store.save_turn(turn)
    with pytest.raises(ConflictError) as caught:
        await store.save_turn(make_turn(turn.tenant_id, turn_id=turn.turn_id, user_message="other"))
    assert SECRET not in str(caught.value)
    assert len(log) == 1
    assert vars(log[0])["entity_id"] == str(turn.turn_id)


@pytest.mark.parametrize("failure", [DriverError(SECRET), RuntimeError(SECRET), ConnectionError("no"), KeyError()])
async def test_a_failed_health_check_returns_false_and_is_logged_once(
    failure: Exception, log: list[logging.LogRecord]
) -> None:
    assert await ScriptedSessions(failure).health_check() is False
    (record,) = log
    assert record.getMessage().startswith("session.health_check failed: ")
    assert SECRET not in repr(vars(record))


async def test_concurrent_failures_are_logged_once_each(log: list[logging.LogRecord]) -> None:
    store: SessionStore = ScriptedSessions(*[RuntimeError()] * 7)
    failed = await asyncio.gather(*(store.get(uuid4()) for _ in range(10)), return_exceptions=True)
    assert [isinstance(answer, StoreError) for answer in failed].count(True) == 7
    assert len(log) == 7
    assert len({vars(record)["entity_id"] for record in log}) == 7


def test_nothing_is_printed_without_logging_configured() -> None:
    handlers = logging.getLogger("convostore").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


async def test_a_refused_argument_is_logged_with_the_tenant_of_the_call(log: list[logging.LogRecord]) -> None:
    tenant = uuid4()
    with pytest.raises(ValidationError):
        await ScriptedSessions().list_by_agent(tenant, uuid4(), limit=0)
    assert [vars(record)["tenant_id"] for record in log] == [str(tenant)]
