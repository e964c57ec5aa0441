"""A replay fills all stores, is idempotent, can be resumed, and reports differences."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from convostore import Stores
from convostore.errors import ConflictError
from convostore.models import Channel, ProfileFieldSource, SessionStatus
from convostore.replay import AgentRecord, ConversationRecord, Report, ScenarioRecord, StepRecord, TurnLine, sample
from tests.replay.conftest import Play

CONVERSATIONS = [record for record in sample() if isinstance(record, ConversationRecord)]


def conversation(**changes: object) -> ConversationRecord:
    lines = (TurnLine(speaker="customer", text="hello"), TurnLine(speaker="action", text="looked", tool="look"))
    given = {"agent": "A", "key": "1", "user": "ann", "scenario": "Look", "turns": lines, **changes}
    return ConversationRecord(**given)  # type: ignore[arg-type]


LOOK = ScenarioRecord(
    agent="A", name="Look", steps=(StepRecord(name="Greet", say="Hello"), StepRecord(name="Look", tool="look"))
)


async def everything(stores: Stores, tenant: UUID) -> list[object]:
    agents, _ = await stores.config.get_agents(tenant)
    found: list[object] = [*agents, *await stores.profiles.list_profiles(tenant)]
    for agent in agents:
        found += await stores.config.get_rules(tenant, agent.id)
        found += await stores.config.get_scenarios(tenant, agent.id)
        found += await stores.config.get_templates(tenant, agent.id)
        found += await stores.config.get_tool_activations(tenant, agent.id)
        found += await stores.config.get_variables(tenant, agent.id)
        found += await stores.sessions.list_by_agent(tenant, agent.id)
        found += await stores.memory.get_episodes(tenant, agent.id)
        found += await stores.memory.get_entities(tenant, agent.id)
        found += await stores.memory.get_relationships(tenant, agent.id)
    found += await stores.audit.list_turns_by_tenant(tenant, limit=1_000)
    found += await stores.audit.list_events(tenant, limit=1_000)
    return found


async def test_the_sample_is_in_all_five_stores_and_every_check_holds(play: Play) -> None:
    report = await play(sample(), uuid4())
    assert report.problems == []
    assert report.read == report.written
    assert {store for store, _ in report.written} == {"sessions", "config", "memory", "audit", "profiles"}
    assert report.written["sessions", "sessions"] == len(CONVERSATIONS)
    lines = sum(len(record.turns) for record in CONVERSATIONS)
    assert report.written["audit", "turns"] == report.written["memory", "episodes"] == lines


async def test_turns_are_stored_in_order(stores: Stores, play: Play) -> None:
    tenant = uuid4()
    await play(sample(), tenant)
    for record in CONVERSATIONS:
        session = await stores.sessions.get_by_channel(tenant, record.channel, record.user)
        assert session is not None
        (agent,), _ = await stores.config.get_agents(tenant)
        sessions = await stores.sessions.list_by_agent(tenant, agent.id, status=SessionStatus.CLOSED)
        turns = [await stores.audit.list_turns_by_session(tenant, session.session_id) for session in sessions]
        said = [[turn.user_message or turn.agent_response for turn in listed] for listed in turns]
        assert [line.text for line in record.turns] in said


async def test_a_replay_is_idempotent(stores: Stores, play: Play) -> None:
    tenant = uuid4()
    await play(sample(), tenant)
    before = await everything(stores, tenant)
    report = await play(sample(), tenant)
    assert report.problems == []
    assert await everything(stores, tenant) == before


async def test_an_interrupted_replay_is_resumed(stores: Stores, play: Play) -> None:
    tenant = uuid4()
    record = conversation()
    await play([LOOK, conversation(turns=record.turns[:1])], tenant)
    session = await stores.sessions.get_by_channel(tenant, Channel.WEBCHAT, "ann")
    assert session is not None
    assert session.turn_count == 1
    await play([LOOK, record], tenant)
    session = await stores.sessions.get_by_channel(tenant, Channel.WEBCHAT, "ann")
    assert session is not None
    assert session.turn_count == 2
    assert [visit.step_name for visit in session.step_history] == ["Look"]


async def test_two_tenants_can_hold_the_same_conversations(stores: Stores, play: Play) -> None:
    one, other = uuid4(), uuid4()
    assert (await play([LOOK, conversation()], one)).problems == []
    assert (await play([LOOK, conversation()], other)).problems == []
    assert await stores.audit.list_turns_by_tenant(one) != await stores.audit.list_turns_by_tenant(other)


async def test_each_step_leads_to_the_next_and_the_last_to_none(stores: Stores, play: Play) -> None:
    tenant = uuid4()
    await play([AgentRecord(name="A"), LOOK], tenant)
    (agent,), _ = await stores.config.get_agents(tenant)
    (scenario,) = await stores.config.get_scenarios(tenant, agent.id)
    greet, look = scenario.steps
    assert [transition.to_step_id for transition in greet.transitions] == [look.id]
    assert look.transitions == []
    assert (greet.is_entry, greet.is_terminal, look.is_entry, look.is_terminal) == (True, False, False, True)
    assert scenario.entry_step_id == greet.id
    assert [await stores.config.get_template(tenant, id) for id in greet.template_ids] != [None]
    (activation,) = await stores.config.get_tool_activations(tenant, agent.id)
    assert activation.tool_id == "look"


async def test_fields_have_their_provenance(stores: Stores, play: Play) -> None:
    tenant = uuid4()
    lines = (
        TurnLine(speaker="customer", text="I am Ann Lee"),
        TurnLine(speaker="action", text="found", tool="look"),
    )
    await play([LOOK, conversation(turns=lines, customer={"name": "ann lee", "level": "gold"})], tenant)
    await play([LOOK, conversation(key="2", user="bob", turns=lines[:1], customer={"level": "tin"})], tenant)
    ann = await stores.profiles.get_by_channel_identity(tenant, Channel.WEBCHAT, "ann")
    bob = await stores.profiles.get_by_channel_identity(tenant, Channel.WEBCHAT, "bob")
    assert ann is not None
    assert bob is not None
    assert ann.fields["name"].source is ProfileFieldSource.USER_PROVIDED
    assert ann.fields["level"].source is ProfileFieldSource.TOOL_RESULT
    assert bob.fields["level"].source is ProfileFieldSource.HUMAN_ENTERED
    (turn, *_) = await stores.audit.list_turns_by_tenant(tenant)
    (scenario,) = await stores.config.get_scenarios(tenant, turn.agent_id)
    assert ann.fields["level"].source_step_id == scenario.steps[1].id


async def test_other_content_under_a_replayed_key_is_a_conflict_that_names_it(play: Play) -> None:
    tenant = uuid4()
    await play([LOOK, conversation()], tenant)
    with pytest.raises(ConflictError, match="conversation 1"):
        await play([LOOK, conversation(turns=(TurnLine(speaker="customer", text="something else"),))], tenant)


async def test_a_difference_is_reported_without_content() -> None:
    report = Report()
    lines = [TurnLine(speaker="customer", text=text) for text in ("secret", "other")]
    report.compare("audit", "turns", lines[:1], lines[1:], "conversation 1")  # type: ignore[arg-type]
    (problem,) = report.problems
    assert "conversation 1" in problem
    assert "secret" not in problem
