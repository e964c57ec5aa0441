"""The five errors: their relatives, defaults and attributes."""

from __future__ import annotations

import builtins
import copy
import pickle

import pytest

from convostore import errors
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError

ALL = (StoreError, ConnectionError, NotFoundError, ConflictError, ValidationError)
EVERY = pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)


@EVERY
def test_every_error_is_a_store_error(error: type[StoreError]) -> None:
    assert issubclass(error, StoreError)
    assert issubclass(error, Exception)


def test_a_connection_error_is_also_the_builtin_one() -> None:
    assert errors.ConnectionError is not builtins.ConnectionError
    with pytest.raises(builtins.ConnectionError):
        raise errors.ConnectionError("gone")
    with pytest.raises(OSError, match="gone"):
        raise errors.ConnectionError("gone")


def test_a_validation_error_is_also_a_value_error() -> None:
    with pytest.raises(ValueError, match="bad"):
        raise ValidationError("bad")


@pytest.mark.parametrize("error", [StoreError, NotFoundError, ConflictError])
def test_no_other_error_has_a_builtin_relative(error: type[StoreError]) -> None:
    assert not issubclass(error, (OSError, ValueError, LookupError, RuntimeError))


@EVERY
def test_siblings_do_not_catch_one_another(error: type[StoreError]) -> None:
    assert [other for other in ALL[1:] if issubclass(error, other)] == ([] if error is StoreError else [error])


@EVERY
def test_by_default_only_a_connection_error_is_retryable(error: type[StoreError]) -> None:
    assert error().retryable is (error is ConnectionError)
    assert error(retryable=True).retryable is True
    assert error(retryable=False).retryable is False
    assert error.retryable is (error is ConnectionError)


@EVERY
def test_the_default_outcome_is_not_applied(error: type[StoreError]) -> None:
    assert error().outcome == "not_applied"
    assert error(outcome="unknown").outcome == "unknown"


@EVERY
def test_outside_a_store_an_error_names_no_store(error: type[StoreError]) -> None:
    made = error("text", code="23505")
    assert (made.store, made.operation, made.code) == (None, None, "23505")
    assert error().code is None


@EVERY
def test_the_message_is_the_argument(error: type[StoreError]) -> None:
    assert str(error("Something happened.")) == "Something happened."


@EVERY
def test_the_default_message_is_the_docstring(error: type[StoreError]) -> None:
    message = str(error())
    assert message.endswith(".")
    assert message == (error.__doc__ or "").partition("\n")[0]


def test_a_conflict_tells_the_current_revision() -> None:
    assert ConflictError().current_revision is None
    assert ConflictError("stale", current_revision=7).current_revision == 7


@EVERY
@pytest.mark.parametrize("duplicate", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_with_its_attributes(error: type[StoreError], duplicate: object) -> None:
    made = error("Something happened.", retryable=True, outcome="unknown", code="40001")
    made.store, made.operation = "config", "save_rule"
    if isinstance(made, ConflictError):
        made.current_revision = 3
    assert callable(duplicate)
    again = duplicate(made)
    assert type(again) is error
    assert (str(again), vars(again)) == (str(made), vars(made))


@EVERY
def test_attributes_are_keyword_only(error: type[StoreError]) -> None:
    with pytest.raises(TypeError):
        error("text", True)  # type: ignore[call-arg]
