"""Texts and times, in every field of every model that holds one."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import uuid4

import pydantic
import pytest

from convostore.models import AuditRecord, Episode, Session
from convostore.models.fields import MAX_TEXT_BYTES, UtcDatetime
from convostore.testing.factories import make_episode, make_session
from tests.unit.examples import EXAMPLES, MODELS, with_field
from tests.unit.strategies import hints_of

ENDLESS = "x" * (MAX_TEXT_BYTES + 1)
NOT_TEXTS = {"NUL": "a\x00b", "unpaired surrogate": "a\ud800b", "more than 1 MiB": ENDLESS}
EARLIEST = datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
LATEST = datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def origin_of(hint: Any) -> Any:
    return get_origin(hint)


def is_text(hint: Any) -> bool:
    origin, arguments = origin_of(hint), get_args(hint)
    if origin is Annotated:
        return is_text(arguments[0])
    return hint is str or (origin in (Union, types.UnionType) and any(map(is_text, arguments)))


def fields(matches: Any) -> list[Any]:
    return [
        pytest.param(model, name, id=f"{model.__name__}.{name}")
        for model in MODELS
        for name, hint in hints_of(model).items()
        if matches(hint)
    ]


TEXTS = fields(is_text)
LISTS_OF_TEXTS = fields(lambda hint: origin_of(hint) is list and is_text(get_args(hint)[0]))
KEYED_BY_TEXTS = fields(lambda hint: origin_of(hint) is dict and is_text(get_args(hint)[0]))
TIMES = fields(lambda hint: hint in (UtcDatetime, UtcDatetime | None))
CHOICES = fields(lambda hint: origin_of(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum)))


def test_the_fields_were_found() -> None:
    assert [len(found) > 3 for found in (TEXTS, LISTS_OF_TEXTS, KEYED_BY_TEXTS, TIMES, CHOICES)] == [True] * 5
    assert len(TEXTS) > 60
    assert len(TIMES) > 40


@pytest.mark.parametrize(("model", "field"), TEXTS)
def test_a_text_with_characters_that_no_backend_stores_is_refused(model: Any, field: str) -> None:
    for reason, text in NOT_TEXTS.items():
        if (model, field) == (AuditRecord, "body") and text is ENDLESS:
            continue  # Several texts of 1 MiB may be in one.
        with pytest.raises(pydantic.ValidationError, match=field):
            pytest.fail(f"{reason} was accepted in {with_field(model, field, text)}")


@pytest.mark.parametrize(("model", "field"), LISTS_OF_TEXTS)
def test_such_a_text_in_a_list_is_refused(model: Any, field: str) -> None:
    for text in NOT_TEXTS.values():
        with pytest.raises(pydantic.ValidationError, match=field):
            with_field(model, field, ["fine", text])


@pytest.mark.parametrize(("model", "field"), KEYED_BY_TEXTS)
def test_such_a_key_is_refused(model: Any, field: str) -> None:
    value = next(iter(getattr(EXAMPLES[model], field).values()))
    for text in NOT_TEXTS.values():
        with pytest.raises(pydantic.ValidationError, match=field):
            with_field(model, field, {text: value})


@pytest.mark.parametrize("text", ["", "x" * MAX_TEXT_BYTES, "語" * (MAX_TEXT_BYTES // 3), "\U0010ffff\ufeff\x01\x7f"])
def test_texts_have_up_to_a_mebibyte_of_utf_8(text: str) -> None:
    assert make_episode(uuid4(), uuid4(), content=text).content == text


@pytest.mark.parametrize("text", ["語" * (MAX_TEXT_BYTES // 3 + 1), "é" * (MAX_TEXT_BYTES // 2 + 1)])
def test_size_is_in_bytes(text: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="must be at most 1,048,576 bytes in UTF-8"):
        make_episode(uuid4(), uuid4(), content=text)


@pytest.mark.parametrize(
    ("text", "reason"), [("\x00", "must not contain NUL characters"), ("\udfff", "unpaired surrogate|unicode string")]
)
def test_a_refusal_has_its_reason(text: str, reason: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=reason):
        make_episode(uuid4(), uuid4(), content=text)


@pytest.mark.parametrize(("model", "field"), TIMES)
def test_every_time_is_aware_and_in_the_years_1_to_9998(model: Any, field: str) -> None:
    for moment in (EARLIEST, LATEST):
        assert getattr(with_field(model, field, moment), field) == moment
    beyond: tuple[Any, ...] = (
        EARLIEST - timedelta(microseconds=1),
        EARLIEST.replace(tzinfo=None),
        LATEST + timedelta(microseconds=1),
        EARLIEST.replace(tzinfo=timezone(timedelta(hours=1))),
        LATEST.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        "yesterday",
    )
    for moment in beyond:
        with pytest.raises(pydantic.ValidationError, match=field):
            with_field(model, field, moment)


@pytest.mark.parametrize("hours", [-14, -1, 0, 5.5, 14])
def test_times_are_kept_as_utc_with_microseconds(hours: float) -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 123_457, tzinfo=timezone(timedelta(hours=hours)))
    kept = make_episode(uuid4(), uuid4(), occurred_at=moment).occurred_at
    assert kept == moment
    assert kept.tzinfo is UTC
    assert kept.microsecond == 123_457


def test_the_fold_of_a_repeated_hour_is_dropped() -> None:
    kept = make_episode(uuid4(), uuid4(), occurred_at=datetime(2026, 10, 25, 1, tzinfo=UTC, fold=1)).occurred_at
    assert kept.fold == 0


def test_times_default_to_now_and_are_aware() -> None:
    before = datetime.now(UTC)
    session = make_session(uuid4())
    assert before <= session.created_at <= session.last_activity_at <= datetime.now(UTC)
    required = {name for name, field in Episode.model_fields.items() if field.is_required()}
    assert required == {"tenant_id", "agent_id", "group_id", "content", "occurred_at"}


@pytest.mark.parametrize(("model", "field"), CHOICES)
def test_other_choices_are_refused(model: Any, field: str) -> None:
    for value in ("something else", "", 5):
        with pytest.raises(pydantic.ValidationError, match=field):
            with_field(model, field, value)


def test_assignments_are_validated() -> None:
    session: Any = EXAMPLES[Session].model_copy(deep=True)
    for field, value in (("user_channel_id", "\x00"), ("created_at", datetime(2026, 1, 1)), ("turn_count", -1)):  # noqa: DTZ001
        with pytest.raises(pydantic.ValidationError, match=field):
            setattr(session, field, value)
    assert session == EXAMPLES[Session]
