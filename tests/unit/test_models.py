"""All models are strict, bounded, copied when passed on, and survive JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import RFC_4122, uuid4

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convostore.models import (
    AgentConfig,
    AuditAnchor,
    AuditBody,
    AuditEvent,
    AuditHead,
    AuditProblem,
    AuditRecord,
    AuditVerification,
    Channel,
    CustomerProfile,
    ItemTrace,
    Neighbourhood,
    SearchHit,
    Session,
    ToolCall,
    Turn,
    TurnRecord,
)
from convostore.models.base import FrozenModel, Model
from convostore.testing.factories import make_rule, make_session
from tests.unit.examples import EXAMPLES, MODELS
from tests.unit.strategies import QUICK, hints_of, models

EVERY_MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def test_every_model_has_an_example() -> None:
    assert set(EXAMPLES) == set(MODELS)


@EVERY_MODEL
@QUICK
@given(data=st.data())
def test_generated_values_survive_json(model: type[Model], data: st.DataObject) -> None:
    item = data.draw(models(model))
    text = item.model_dump_json()
    again = model.model_validate_json(text)
    assert again == item
    assert again.model_dump_json() == text
    json.loads(text, parse_constant=pytest.fail)


@EVERY_MODEL
def test_examples_survive_json_and_plain_python(model: type[Model]) -> None:
    item = EXAMPLES[model]
    assert model.model_validate_json(item.model_dump_json()) == item
    assert model.model_validate(item.model_dump()) == item


@EVERY_MODEL
def test_unknown_fields_are_refused(model: type[Model]) -> None:
    with pytest.raises(pydantic.ValidationError, match="unknown"):
        model(**{**EXAMPLES[model].__dict__, "unknown": 1})


@EVERY_MODEL
def test_validation_makes_a_deep_copy(model: type[Model]) -> None:
    item = EXAMPLES[model]
    copied = model.model_validate(item)
    assert copied == item
    assert copied is not item
    for name, value in item.__dict__.items():
        if isinstance(value, list | dict | Model):
            assert copied.__dict__[name] is not value, f"{name} is shared"


@EVERY_MODEL
def test_assignment_is_validated_or_impossible(model: type[Model]) -> None:
    item = EXAMPLES[model].model_copy(deep=True)
    field = next(iter(model.model_fields))
    with pytest.raises(pydantic.ValidationError):
        setattr(item, field, object())
    assert item == EXAMPLES[model]


@EVERY_MODEL
def test_the_items_of_a_list_are_validated_again(model: type[Model]) -> None:
    for name, hint in hints_of(model).items():
        if get_origin(hint) is list and not isinstance(getattr(EXAMPLES[model], name), str):
            item = EXAMPLES[model].model_copy(deep=True)
            item.__dict__[name].append(object())
            with pytest.raises(pydantic.ValidationError, match=name):
                model.model_validate(item)


@EVERY_MODEL
def test_errors_do_not_contain_the_input(model: type[Model]) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        model(**{name: ["secret"] for name in ("id", "name", *model.model_fields)})
    assert "secret" not in str(caught.value)


def test_records_are_frozen() -> None:
    assert {model for model in MODELS if issubclass(model, FrozenModel)} == {
        TurnRecord,
        ToolCall,
        AuditEvent,
        AuditAnchor,
        AuditBody,
        AuditHead,
        AuditProblem,
        AuditRecord,
        AuditVerification,
        AgentConfig,
        Neighbourhood,
        SearchHit,
        ItemTrace,
        Turn,
    }
    turn = EXAMPLES[TurnRecord]
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        turn.user_message = "another"  # type: ignore[attr-defined]


OWN_IDS = [
    *((model, "id") for model in MODELS if "id" in model.model_fields),
    *((Session, "session_id"), (TurnRecord, "turn_id"), (CustomerProfile, "customer_id")),
]


@pytest.mark.parametrize(("model", "field"), OWN_IDS)
def test_ids_of_a_model_of_its_own_are_generated(model: type[Model], field: str) -> None:
    values = {name: value for name, value in EXAMPLES[model].__dict__.items() if name != field}
    one, other = getattr(model(**values), field), getattr(model(**values), field)
    assert one != other
    assert one.version == 7
    assert one.variant == RFC_4122


def test_generated_ids_sort_by_time_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    first = make_session(uuid4()).session_id
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_001_000_000)
    second = make_session(uuid4()).session_id
    assert first < second
    assert second.int >> 80 == 1_700_000_000_001


@EVERY_MODEL
def test_what_a_store_keeps_of_an_object_starts_empty(model: type[Model]) -> None:
    fields = model.model_fields
    assert set(model.store_managed) <= set(fields)
    if "revision" in fields:
        assert fields["revision"].default == 0
        assert "revision" in model.store_managed
    if "deleted_at" in fields:
        assert fields["deleted_at"].default is None


def test_enums_equal_their_values_and_read_from_them() -> None:
    session = make_session(uuid4(), channel="email", status="idle")
    assert session.channel is Channel.EMAIL
    assert session.status == "idle"
    assert json.loads(session.model_dump_json())["channel"] == "email"


def test_mutable_defaults_are_not_shared() -> None:
    one, other = make_session(uuid4()), make_session(uuid4())
    one.variables["x"] = 1
    one.step_history.append(EXAMPLES[Session].step_history[0])  # type: ignore[attr-defined]
    assert (other.variables, other.step_history) == ({}, [])


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [("priority", "5", 5), ("enabled", "yes", True), ("attached_tool_ids", ("a",), ["a"])],
)
def test_constructors_convert_what_pydantic_converts(field: str, given: Any, kept: Any) -> None:
    assert getattr(make_rule(uuid4(), uuid4(), **{field: given}), field) == kept


@EVERY_MODEL
def test_every_field_is_bounded(model: type[Model]) -> None:
    def bare(hint: Any) -> bool:
        if get_origin(hint) is Annotated or get_origin(hint) is Literal:
            return False
        return hint in (str, int, float, dict, list, Any) or any(map(bare, get_args(hint)))

    assert [name for name, hint in hints_of(model).items() if bare(hint)] == []
