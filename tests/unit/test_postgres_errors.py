"""The table of PostgreSQL's and asyncpg's errors: every state and class has its meaning."""

from __future__ import annotations

import asyncpg
import pytest
from asyncpg.exceptions import InternalServerError, InvalidCachedStatementError, UniqueViolationError

from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.postgres.errors import DRIVER, INTERNAL, OTHERWISE, STATES, translated


def with_state(state: str) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError("secret")
    vars(error)["severity_en"], _, vars(error)["sqlstate"] = state.rpartition(" ")
    return error


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_the_table_is_told_by_it(state: str) -> None:
    meaning = STATES[state]
    whole = f"{state}ZZZ" if len(state) == 2 else state
    error = translated(with_state(whole))
    assert (type(error), error.retryable, error.outcome, error.code) == (
        meaning.error,
        meaning.retryable,
        meaning.outcome,
        whole.rpartition(" ")[2],
    )
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("state", "kind", "retryable", "outcome"),
    [
        ("40001", ConnectionError, True, "not_applied"),
        ("40P01", ConnectionError, True, "not_applied"),
        ("40003", ConnectionError, True, "unknown"),
        ("25P03", ConnectionError, True, "not_applied"),
        ("25P04", ConnectionError, True, "not_applied"),
        ("25006", ConnectionError, True, "not_applied"),
        ("08006", ConnectionError, True, "unknown"),
        ("08P01", ConnectionError, True, "unknown"),
        ("57P01", ConnectionError, True, "unknown"),
        ("57P03", ConnectionError, True, "not_applied"),
        ("57014", ConnectionError, True, "not_applied"),
        ("55P03", ConnectionError, True, "not_applied"),
        ("53300", ConnectionError, True, "not_applied"),
        ("28P01", ConnectionError, False, "not_applied"),
        ("3D000", ConnectionError, False, "not_applied"),
        ("23505", ConflictError, False, "not_applied"),
        ("23503", NotFoundError, False, "not_applied"),
        ("22003", ValidationError, False, "not_applied"),
        ("42501", StoreError, False, "not_applied"),
        ("42P01", StoreError, False, "not_applied"),
        ("XX000", StoreError, False, "not_applied"),
    ],
)
def test_a_state_means(state: str, kind: type[StoreError], retryable: bool, outcome: str) -> None:
    error = translated(with_state(state))
    assert (type(error), error.retryable, error.outcome) == (kind, retryable, outcome)


@pytest.mark.parametrize(
    "message",
    [
        "could not commit transaction for shard 102008 on at least one active node",
        "failure on connection marked as essential: 10.0.0.2:5432",
        "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally",
        "could not receive data from server: Connection reset by peer",
    ],
)
def test_a_node_that_citus_has_lost_may_have_committed(message: str) -> None:
    error = translated(InternalServerError(message))
    assert (type(error), error.retryable, error.outcome, error.code) == (ConnectionError, True, "unknown", "XX000")
    assert message not in str(error)


@pytest.mark.parametrize("words", INTERNAL)
def test_what_an_internal_error_says_counts_with_its_state_alone(words: str) -> None:
    assert type(translated(UniqueViolationError(words))) is ConflictError
    assert type(translated(InternalServerError("unexpected"))) is OTHERWISE.error


@pytest.mark.parametrize("kind", DRIVER)
def test_every_class_of_the_table_is_told_by_it(kind: type[BaseException]) -> None:
    failure = kind("secret")
    meaning, error = DRIVER[kind], translated(failure)
    assert (type(error), error.retryable, error.outcome) == (meaning.error, meaning.retryable, meaning.outcome)
    assert "secret" not in str(error)


def test_whatever_a_driver_stumbles_over_after_its_connection_was_lost_is_a_lost_connection() -> None:
    error = translated(AttributeError("'NoneType' object has no attribute 'secret'"), lost=True)
    assert (type(error), error.retryable, error.outcome) == (ConnectionError, True, "unknown")


def test_anything_else_is_a_failure_of_unknown_outcome() -> None:
    error = translated(KeyError("secret"))
    assert (type(error), error.retryable, error.outcome) == (StoreError, False, "unknown")
    assert type(translated(with_state("42P01"))) is OTHERWISE.error


def test_an_outdated_statement_is_prepared_anew() -> None:
    assert translated(InvalidCachedStatementError("cached plan must not change result type")).retryable
    assert translated(InternalServerError("cache lookup failed for function 18568")).retryable


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('duplicate key value violates unique constraint "agent_name_key_102008"', "agent_name_key"),
        ('duplicate key value violates unique constraint "agent_name_key"', "agent_name_key"),
        ("duplicate key", "23505"),
    ],
)
def test_a_constraint_without_a_field_is_named_by_the_message_without_its_shard(message: str, code: str) -> None:
    error = translated(UniqueViolationError(message))
    assert isinstance(error, ConflictError)
    assert error.code == code
