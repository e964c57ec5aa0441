"""Codecs: what is stored is read back equal, whichever release wrote it; what cannot be read is named."""

from __future__ import annotations

import copy
import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convostore.domain.codec import Codec, Unreadable, readable
from convostore.domain.declarations import AGENT, EVENT, KEPT, PROFILE, RULE, SESSION, TURN
from convostore.domain.profile_change import MERGE, Merge
from convostore.errors import StoreError
from convostore.models import AgentSettings, Session
from convostore.models.base import Model
from convostore.testing.factories import (
    at,
    full_field,
    full_profile,
    full_rule,
    full_session,
    full_turn,
    make_agent,
    make_event,
    make_profile,
    make_rule,
    make_session,
)
from tests.unit import limits, strategies
from tests.unit.examples import EXAMPLES
from tests.unit.newer import NEWS, models_in, with_news

CODECS: list[Codec[Any]] = [*(kept.codec for kept in KEPT), MERGE]
EVERY_CODEC = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)

ID = UUID(int=1)


def example(model: type[Model]) -> Any:
    """Return a model with every field filled."""
    if model is Merge:
        profile, field = full_profile(ID), full_field()
        return Merge(source=profile, past_fields=[field], past_assets=[], target=profile, merged_at=at(0))
    return EXAMPLES[model].model_copy(deep=True)


def as_text(item: Model) -> str:
    """Return a model as text, in which `True`, 1 and 1.0 differ and objects have no order."""
    return json.dumps(item.model_dump(), sort_keys=True, default=repr)


def stored_row(codec: Codec[Any], item: Any, **changes: Any) -> list[Any]:
    """Return the row of an item as a driver gives it, in which enums are text, with changes."""
    row = [str(value) if isinstance(value, str) else value for value in codec.to_row(item)]
    return list((dict(zip(codec.columns, row, strict=True)) | changes).values())


def document(codec: Codec[Any], item: Model, **changes: Any) -> bytes:
    """Return the document of an item, with changes."""
    return json.dumps(json.loads(codec.to_document(item)) | changes).encode()


class TestWhatIsWrittenIsReadBack:
    @EVERY_CODEC
    @strategies.QUICK
    @given(data=st.data())
    def test_generated_values(self, codec: Codec[Any], data: st.DataObject) -> None:
        model: type[Model] = codec.model
        self.check(codec, data.draw(strategies.models(model)))

    @pytest.mark.slow
    @EVERY_CODEC
    def test_the_limits_of_every_field(self, codec: Codec[Any]) -> None:
        model: type[Model] = codec.model
        for item in limits.examples(model):
            self.check(codec, item)

    def check(self, codec: Codec[Any], item: Any) -> None:
        text = codec.to_document(item)
        found = codec.from_document(text, ID)
        assert found == item == codec.model.model_validate_json(text)
        for again in (
            found,
            codec.from_document(codec.to_canonical(item), ID),
            codec.from_row([*stored_row(codec, item), "further"]),
        ):
            assert type(again) is codec.model
            assert as_text(again) == as_text(item)
            assert set(codec.model.model_fields) - again.model_fields_set <= set(codec.model.gained)

    @EVERY_CODEC
    def test_a_copy_is_a_model_in_every_respect(self, codec: Codec[Any]) -> None:
        item = example(codec.model)
        found = codec.from_document(codec.to_document(item), ID)
        assert {type(part) for part in models_in(found)} == {type(part) for part in models_in(item)}
        assert copy.deepcopy(found) == found.model_copy(deep=True) == item
        assert codec.model.model_validate(found) == item
        assert found.model_dump_json() == item.model_dump_json()

    def test_fields_beside_a_document_are_not_in_it(self) -> None:
        codec = Codec("session", Session, ("session_id",), beside=Session.store_managed)
        session = full_session(uuid4())
        text = codec.to_document(session)
        beside = {name: getattr(session, name) for name in Session.store_managed}
        assert not set(beside) & set(json.loads(text))
        assert codec.from_document(text, ID, **beside) == session
        assert codec.from_document(text, ID, **beside | {"revision": 77}).revision == 77
        assert codec.from_document(text, ID, **beside).model_fields_set == set(Session.model_fields)

    def test_a_document_may_have_further_keys(self) -> None:
        agent = make_agent(uuid4())
        text = AGENT.codec.to_document(agent, position=3, owner=ID)
        assert json.loads(text) == {"position": 3, "owner": str(ID), **json.loads(agent.model_dump_json())}
        assert AGENT.codec.from_document(text, ID) == agent

    def test_some_columns_of_a_row(self) -> None:
        agent = make_agent(uuid4())
        assert AGENT.codec.to_row(agent, ("id", "settings")) == [agent.id, agent.settings.model_dump_json()]
        assert AGENT.codec.nested == {"settings", "metadata"}


class TestOfAnotherRelease:
    @EVERY_CODEC
    def test_fields_of_a_newer_one_are_skipped_at_every_depth(self, codec: Codec[Any]) -> None:
        item = example(codec.model)
        text = with_news(codec.to_document(item), item)
        assert text.count(NEWS) == sum(1 for _ in models_in(item))
        assert as_text(codec.from_document(text, ID)) == as_text(item)
        row = [
            with_news(stored, value) if name in codec.nested and value is not None else stored
            for (name, value), stored in zip(item.__dict__.items(), stored_row(codec, item), strict=True)
        ]
        assert as_text(codec.from_row([*row, "a column of its own"])) == as_text(item)

    @EVERY_CODEC
    def test_fields_that_an_older_one_did_not_have_get_their_defaults(self, codec: Codec[Any]) -> None:
        item = example(codec.model)
        for name, field in codec.model.model_fields.items():
            if field.is_required() or field.default_factory is not None:
                continue
            older = json.loads(codec.to_document(item))
            del older[name]
            found = codec.from_document(json.dumps(older), ID)
            assert found == item.model_copy(update={name: field.default})
            assert found.model_fields_set == set(codec.model.model_fields) - {name}

    def test_defaults_that_are_made_are_made_each_time(self) -> None:
        older = json.dumps({"id": str(ID), "tenant_id": str(ID), "name": "a"})
        one, other = AGENT.codec.from_document(older, ID), AGENT.codec.from_document(older, ID)
        assert one.settings == AgentSettings()
        assert one.metadata == {}
        one.metadata["changed"] = True
        assert other.metadata == {}

    @EVERY_CODEC
    def test_required_fields_and_ids_are_never_made_up(self, codec: Codec[Any]) -> None:
        item = example(codec.model)
        without = [name for name, field in codec.model.model_fields.items() if field.is_required()]
        without += [name for name in ("id", "turn_id", "session_id") if name == codec.key[0]]
        for name in without:
            older = json.loads(codec.to_document(item))
            if name not in older:
                continue
            del older[name]
            with pytest.raises(Unreadable, match=rf"\({name}\)"):
                codec.from_document(json.dumps(older), ID)

    def test_an_enum_member_or_literal_of_a_newer_one_is_unreadable(self) -> None:
        for codec, item, field in (
            (SESSION.codec, make_session(uuid4()), "channel"),
            (SESSION.codec, make_session(uuid4()), "status"),
            (RULE.codec, full_rule(uuid4(), uuid4()), "scope"),
        ):
            with pytest.raises(Unreadable, match=field):
                codec.from_document(document(codec, item, **{field: "telepathy"}), ID)
            with pytest.raises(Unreadable, match=field) as refused:
                codec.from_row(stored_row(codec, item, **{field: "telepathy"}))
            assert "telepathy" not in str(refused.value) + str(refused.value.__cause__)


class TestOnlyTypesAndShapeAreChecked:
    def test_bounds_are_not_checked_again_at_any_depth(self) -> None:
        rule = document(RULE.codec, make_rule(uuid4(), uuid4()), priority=1_000, name="", scope="step")
        assert (RULE.codec.from_document(rule, ID).priority, RULE.codec.from_document(rule, ID).scope) == (
            1_000,
            "step",
        )
        agent = document(AGENT.codec, make_agent(uuid4()), settings={"max_tokens": -1, "temperature": 99})
        assert AGENT.codec.from_document(agent, ID).settings.max_tokens == -1
        row = stored_row(AGENT.codec, make_agent(uuid4()), settings='{"max_tokens":-1}')
        assert AGENT.codec.from_row(row).settings.max_tokens == -1

    def test_items_of_a_profile_are_not_compared_again(self) -> None:
        profile = document(
            PROFILE.codec, make_profile(uuid4()), fields={"a": json.loads(full_field("b").model_dump_json())}
        )
        assert PROFILE.codec.from_document(profile, ID).fields["a"].name == "b"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("session_id", 5),
            ("session_id", "no id"),
            ("config_version", "1"),
            ("config_version", 1.5),
            ("config_version", True),
            ("config_version", None),
            ("user_channel_id", 1),
            ("step_history", {}),
            ("step_history", [1]),
            ("step_history", [{"step_id": str(ID), "turn_number": 1}]),
            ("step_history", [{"step_id": str(ID), "turn_number": 1, "entered_at": "2026-01-01T00:00:00"}]),
            ("step_history", [{"step_id": str(ID), "turn_number": 1, "entered_at": 1_700_000_000}]),
            ("step_history", [{"step_id": str(ID), "turn_number": 1, "entered_at": "secret"}]),
            ("rule_fires", []),
            ("rule_fires", {"secret": "1"}),
            ("created_at", "0001-01-01T00:00:00+02:00"),
            ("pending_migration", {}),
        ],
    )
    def test_other_types_and_shapes_are_unreadable(self, field: str, value: Any) -> None:
        text = document(SESSION.codec, make_session(uuid4()), **{field: value})
        with pytest.raises(Unreadable, match=rf"^session {ID}: the stored value cannot be read \({field}\)") as refused:
            SESSION.codec.from_document(text, ID)
        assert refused.value.code == "unreadable"
        assert not refused.value.retryable
        assert "secret" not in str(refused.value)
        if field not in SESSION.codec.nested:
            return
        session = make_session(uuid4(), session_id=ID)
        with pytest.raises(Unreadable, match=rf"^session {ID}: the stored value cannot be read \({field}\)"):
            SESSION.codec.from_row(stored_row(SESSION.codec, session, **{field: json.dumps(value)}))

    @pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b'"secret"', b"[" * 10_000, "\ud800"])
    def test_what_is_no_json_object_is_unreadable(self, text: str | bytes) -> None:
        with pytest.raises(Unreadable, match=rf"^turn {ID}: the stored value cannot be read: ") as refused:
            TURN.codec.from_document(text, ID)
        assert "secret" not in f"{refused.value}{refused.value.__cause__}"
        assert isinstance(refused.value, StoreError)

    def test_whole_numbers_are_read_as_floats_where_a_float_belongs(self) -> None:
        # As jsonb writes 1.0 and 1e23.
        visits = f'[{{"step_id":"{ID}","turn_number":1,"entered_at":"2026-01-01T00:00:00Z","confidence":1}}]'
        session = SESSION.codec.from_row(stored_row(SESSION.codec, make_session(uuid4()), step_history=visits))
        assert repr(session.step_history[0].confidence) == "1.0"
        rule = document(RULE.codec, full_rule(uuid4(), uuid4()), embedding=[10**23, 1])
        assert repr(RULE.codec.from_document(rule, ID).embedding) == "[1e+23, 1.0]"

    @pytest.mark.parametrize(
        "text", ["2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.500000+00:00", "2026-03-01T14:00:00.5+02:00"]
    )
    def test_times_are_utc(self, text: str) -> None:
        found = EVENT.codec.from_document(document(EVENT.codec, make_event(uuid4()), timestamp=text), ID).timestamp
        assert found == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
        assert found.tzinfo is UTC


class TestUnreadableValuesOfAList:
    def test_are_logged_once_and_left_out(self, caplog: pytest.LogCaptureFixture) -> None:
        agents = [make_agent(uuid4()) for _ in range(3)]
        texts = [AGENT.codec.to_document(agent) for agent in agents]
        texts[1] = document(AGENT.codec, agents[1], name=["secret"])

        def read(number: int) -> Model:
            return AGENT.codec.from_document(texts[number], agents[number].id)

        with caplog.at_level(logging.WARNING, "convostore"):
            assert list(readable(read, range(3))) == [agents[0], agents[2]]
        (record,) = caplog.records
        assert record.name == "convostore.agent"
        assert record.__dict__["entity_id"] == str(agents[1].id)
        assert record.__dict__["code"] == "unreadable"
        assert str(agents[1].id) in record.getMessage()
        assert "secret" not in record.getMessage()

    def test_other_failures_are_raised(self) -> None:
        def read(_: int) -> None:
            raise StoreError("a row of another tenant was read")

        with pytest.raises(StoreError, match="another tenant"):
            list(readable(read, [1]))


class TestBytesThatNeverChange:
    """Hashes of the audit trail cover these bytes; every release must write them."""

    def test_of_an_event(self) -> None:
        event = make_event(
            UUID(int=2),
            id=ID,
            event_type="nöted\n",
            event_data={"b": 1e-7, "a": [1.0, 10**37, 1e16, None, True], "ß\u2028\x7f\x01": '"\\/'},
            timestamp=datetime(2026, 3, 1, 12, tzinfo=UTC),
        )
        assert EVENT.codec.to_canonical(event) == (
            '{"event_data":{"a":[1.0,10000000000000000000000000000000000000,10000000000000000,null,true],"b":1e-07,'
            '"ß\u2028\x7f\\u0001":"\\"\\\\/"},"event_type":"nöted\\n","id":"00000000-0000-0000-0000-000000000001",'
            '"session_id":null,"tenant_id":"00000000-0000-0000-0000-000000000002",'
            '"timestamp":"2026-03-01T12:00:00.000000Z","turn_id":null}'
        )
        of_a_customer = event.model_copy(update={"customer_profile_id": ID})
        assert EVENT.codec.to_canonical(of_a_customer).startswith(
            '{"customer_profile_id":"00000000-0000-0000-0000-000000000001","event_data":{"a"'
        )

    def test_of_a_turn(self) -> None:
        ids = ("turn_id", "agent_id", "session_id", "customer_profile_id", "scenario_id", "step_id")
        more = {
            "matched_rule_ids": [ID],
            "template_ids_used": [],
            "metadata": {},
            "user_message": "ä",
            "tool_calls": [],
        }
        turn = full_turn(UUID(int=2)).model_copy(update=dict.fromkeys(ids, ID) | more)
        one = "00000000-0000-0000-0000-000000000001"
        assert TURN.codec.to_canonical(turn) == (
            f'{{"agent_id":"{one}","agent_response":"","customer_profile_id":"{one}","latency_ms":12.0,'
            f'"matched_rule_ids":["{one}"],"metadata":{{}},"scenario_id":"{one}","session_id":"{one}","step_id":"{one}",'
            '"template_ids_used":[],"tenant_id":"00000000-0000-0000-0000-000000000002",'
            f'"timestamp":"2026-03-01T00:00:00.123456Z","tokens_used":34,"tool_calls":[],"turn_id":"{one}",'
            '"turn_number":5,"user_message":"ä"}'
        )
        call = full_turn(UUID(int=2)).tool_calls[0].model_copy(update={"input": {}, "output": [], "error": None})
        assert (
            TURN.codec.to_canonical(turn.model_copy(update={"tool_calls": [call]})).count(
                '"tool_calls":[{"error":null,"input":{},"latency_ms":1.5,"output":[],"success":false,"tool_id":"crm",'
                '"tool_name":"CRM"}]'
            )
            == 1
        )
