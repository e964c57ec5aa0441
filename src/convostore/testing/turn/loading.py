"""The contract of loading a turn: what single calls would return, of one session, customer and agent."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import TurnStore
from convostore.errors import NotFoundError, ValidationError
from convostore.models import Agent, Channel, Episode, Rule, ScenarioStep, SessionStatus
from convostore.testing.arguments import VECTORS
from convostore.testing.base import StoreContract
from convostore.testing.factories import (
    make_agent,
    make_episode,
    make_identity,
    make_rule,
    make_scenario,
    make_session,
)
from convostore.testing.faults.answers import LostAnswers, around_attempts
from convostore.testing.turn.units import saved_profile, saved_session

IDENTITY: dict[str, Any] = {"channel": Channel.EMAIL, "user_channel_id": "ann@example.com"}


async def saved_agent(store: TurnStore, tenant: UUID, **changes: Any) -> Agent:
    agent = make_agent(tenant, **changes)
    await store.config.save_agent(agent)
    return agent


async def saved_rule(store: TurnStore, agent: Agent, text: str, embedding: list[float], **changes: Any) -> Rule:
    rule = make_rule(agent.tenant_id, agent.id, condition_text=text, embedding=embedding, **changes)
    await store.config.save_rule(rule)
    return rule


async def added_episode(
    store: TurnStore, agent: Agent, customer: UUID | None, text: str, embedding: list[float]
) -> Episode:
    changes = {"customer_profile_id": customer, "content": text, "embedding": embedding}
    episode = make_episode(agent.tenant_id, agent.id, **changes)
    await store.memory.add_episode(episode)
    return episode


class TurnLoadContract(StoreContract):
    """What a turn begins with."""

    async def test_a_turn_has_session_profile_and_configuration(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent, profile = await saved_agent(store, tenant), await saved_profile(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id, customer_profile_id=profile.id)
        rule = await saved_rule(store, agent, "greets", [1.0, 0.0])
        turn = await store.load_turn(tenant, session_id=session.session_id)
        assert (turn.session, turn.created, turn.profile) == (session, False, profile)
        assert turn.config == await store.config.get_agent_config(tenant, agent.id)
        assert turn.config.rules == [rule]
        assert (turn.rules, turn.episodes) == ([], [])

    async def test_a_turn_is_loaded_as_often_as_one_likes(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id)
        await saved_rule(store, agent, "greets", [1.0, 0.0])
        first = await store.load_turn(tenant, session_id=session.session_id)
        first.config.rules.clear()
        first.session.variables["a"] = 1
        again = await store.load_turn(tenant, session_id=session.session_id)
        assert (len(again.config.rules), again.session) == (1, session)
        await store.sessions.save(first.session)
        third = await store.load_turn(tenant, session_id=session.session_id)
        assert third.session == first.session

    async def test_a_change_of_the_configuration_is_in_the_next_turn(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id)
        one, other = [await saved_rule(store, agent, text, [1.0, 0.0]) for text in ("greets", "thanks")]
        asked: dict[str, Any] = {"session_id": session.session_id, "query_embedding": [1.0, 0.0]}
        assert len((await store.load_turn(tenant, **asked)).rules) == 2
        one.action_text = "Greet."
        await store.config.save_rule(one)
        await store.config.delete_rule(tenant, other.id)
        turn = await store.load_turn(tenant, **asked)
        assert (turn.config.rules, turn.rules) == ([one], [(one, 1.0)])

    async def test_a_turn_is_the_callers_own_at_every_depth(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant, metadata={"a": [1]})
        session = await saved_session(store, tenant, agent_id=agent.id)
        rule = await saved_rule(store, agent, "greets", [1.0, 0.0], attached_tool_ids=["a"])
        steps = [ScenarioStep(id=uuid4(), scenario_id=uuid4(), name="a")]
        scenario = make_scenario(tenant, agent.id, tags=["a"], entry_step_id=steps[0].id, steps=steps)
        await store.config.save_scenario(scenario)
        for _ in range(3):
            turn = await store.load_turn(tenant, session_id=session.session_id, query_embedding=[1.0, 0.0])
            assert (turn.config.agent, turn.config.scenarios) == (agent, [scenario])
            assert (turn.config.rules, turn.rules) == ([rule], [(rule, 1.0)])
            turn.config.agent.metadata["b"] = 2
            turn.config.scenarios[0].tags.append("b")
            turn.config.scenarios[0].steps[0].name = "b"
            turn.config.rules[0].attached_tool_ids.append("b")
            assert turn.rules == [(rule, 1.0)]
            turn.rules[0][0].embedding = [0.0, 1.0]

    async def test_the_profile_is_that_of_the_channel_identity_if_the_session_has_none(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        profile = await saved_profile(
            store, tenant, channel_identities=[make_identity(channel_user_id=IDENTITY["user_channel_id"])]
        )
        session = await saved_session(store, tenant, agent_id=agent.id, **IDENTITY)
        assert (await store.load_turn(tenant, session_id=session.session_id)).profile == profile
        other = await saved_profile(store, tenant)
        session.customer_profile_id = other.id
        await store.sessions.save(session)
        assert (await store.load_turn(tenant, session_id=session.session_id)).profile == other
        await store.profiles.delete_profile(tenant, other.id)
        assert (await store.load_turn(tenant, session_id=session.session_id)).profile is None

    async def test_a_merged_profile_leads_to_the_one_that_it_was_merged_into(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        source, target = await saved_profile(store, tenant), await saved_profile(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id, customer_profile_id=source.id)
        episode = await added_episode(store, agent, target.id, "tea", [1.0, 0.0])
        await store.profiles.merge_profiles(tenant, source.id, target.id)
        turn = await store.load_turn(tenant, session_id=session.session_id, query_embedding=[1.0, 0.0])
        assert turn.profile is not None
        assert turn.profile.id == target.id
        assert [found for found, _ in turn.episodes] == [episode]

    async def test_no_profile_is_created(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        turn = await store.load_turn(tenant, agent_id=agent.id, **IDENTITY)
        assert turn.profile is None
        assert await store.profiles.list_profiles(tenant) == []

    async def test_a_channel_identity_finds_its_open_session_or_creates_one(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent, other = await saved_agent(store, tenant), await saved_agent(store, tenant)
        first = await store.load_turn(tenant, agent_id=agent.id, **IDENTITY)
        again = await store.load_turn(tenant, agent_id=agent.id, **IDENTITY)
        assert (first.created, again.created) == (True, False)
        assert again.session == first.session == await store.sessions.get(first.session.session_id)
        elsewhere = await store.load_turn(tenant, agent_id=other.id, **IDENTITY)
        assert elsewhere.created
        again.session.status = SessionStatus.CLOSED
        await store.sessions.save(again.session)
        assert (await store.load_turn(tenant, agent_id=agent.id, **IDENTITY)).created
        assert len(await store.sessions.list_by_agent(tenant, agent.id)) == 2

    async def test_of_many_first_messages_one_creates_the_session(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        turns = await asyncio.gather(*(store.load_turn(tenant, agent_id=agent.id, **IDENTITY) for _ in range(8)))
        assert sum(turn.created for turn in turns) == 1
        assert len({turn.session.session_id for turn in turns}) == 1

    async def test_an_embedding_searches_rules_and_the_customer_s_episodes(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent, profile = await saved_agent(store, tenant), await saved_profile(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id, customer_profile_id=profile.id)
        near = await saved_rule(store, agent, "tea", [1.0, 0.1])
        far = await saved_rule(store, agent, "coffee", [0.5, 1.0])
        await saved_rule(store, agent, "off", [1.0, 0.0], enabled=False)
        episodes = [await added_episode(store, agent, profile.id, f"tea {n}", [1.0, 0.2 * n]) for n in range(4)]
        await added_episode(store, agent, uuid4(), "of another", [1.0, 0.0])
        await added_episode(store, agent, None, "of nobody", [1.0, 0.0])
        question = [1.0, 0.0]
        turn = await store.load_turn(tenant, session_id=session.session_id, query_embedding=question, episodes=3)
        assert [rule for rule, _ in turn.rules] == [near, far]
        assert turn.rules == await store.config.vector_search_rules(question, tenant, agent.id, limit=5)
        assert [episode for episode, _ in turn.episodes] == episodes[:3]
        only: dict[str, Any] = {"customer_profile_id": profile.id, "limit": 3}
        assert turn.episodes == await store.memory.vector_search_episodes(question, tenant, agent.id, **only)

    async def test_words_and_an_embedding_search_by_both(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent, profile = await saved_agent(store, tenant), await saved_profile(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id, customer_profile_id=profile.id)
        for text, vector in (("green tea", [0.0, 1.0]), ("black tea", [1.0, 0.0]), ("coffee", [1.0, 0.1])):
            await saved_rule(store, agent, text, vector)
            await added_episode(store, agent, profile.id, text, vector)
        asked = ("green tea", [1.0, 0.0])
        turn = await store.load_turn(tenant, session_id=session.session_id, query=asked[0], query_embedding=asked[1])
        assert turn.rules == await store.config.search_rules(*asked, tenant, agent.id, limit=5)
        only: dict[str, Any] = {"customer_profile_id": profile.id, "limit": 5}
        assert turn.episodes == await store.memory.search_episodes(*asked, tenant, agent.id, **only)
        assert len(turn.rules) == len(turn.episodes) == 3

    async def test_a_search_needs_an_embedding_a_limit_and_for_episodes_a_profile(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent, profile = await saved_agent(store, tenant), await saved_profile(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id, customer_profile_id=profile.id)
        await saved_rule(store, agent, "tea", [1.0, 0.0])
        await added_episode(store, agent, profile.id, "tea", [1.0, 0.0])
        await added_episode(store, agent, None, "tea", [1.0, 0.0])
        by_id: dict[str, Any] = {"session_id": session.session_id}
        for asked, rules, episodes in (
            ({"query": "tea"}, 0, 0),
            ({"query_embedding": [1.0, 0.0]}, 1, 1),
            ({"query_embedding": [1.0, 0.0], "rules": 0}, 0, 1),
            ({"query_embedding": [1.0, 0.0], "episodes": 0}, 1, 0),
            ({"query_embedding": [1.0, 0.0, 0.0]}, 0, 0),
            ({"query": "tea", "query_embedding": [1.0, 0.0], "rules": 0}, 0, 1),
        ):
            found: Any = await store.load_turn(tenant, **by_id, **asked)
            assert (len(found.rules), len(found.episodes)) == (rules, episodes), asked
        session.customer_profile_id = None
        await store.sessions.save(session)
        turn = await store.load_turn(tenant, **by_id, query_embedding=[1.0, 0.0])
        assert (len(turn.rules), turn.episodes, turn.profile) == (1, [], None)

    async def test_a_session_that_is_not_there_is_not_found(self, store: TurnStore) -> None:
        tenant, theirs = uuid4(), make_session(uuid4())
        await saved_agent(store, tenant)
        await store.sessions.save(theirs)
        for session_id in (uuid4(), theirs.session_id):
            with pytest.raises(NotFoundError, match="session_id") as caught:
                await store.load_turn(tenant, session_id=session_id)
            assert (caught.value.store, caught.value.operation) == ("turn", "load_turn")

    async def test_without_its_agent_there_is_no_turn_and_no_session(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id)
        await store.config.delete_agent(tenant, agent.id)
        with pytest.raises(NotFoundError, match="agent_id"):
            await store.load_turn(tenant, session_id=session.session_id)
        for agent_id in (uuid4(), agent.id):
            with pytest.raises(NotFoundError, match="agent_id"):
                await store.load_turn(tenant, agent_id=agent_id, **IDENTITY)
            assert await store.sessions.get_by_channel(tenant, *IDENTITY.values(), agent_id=agent_id) is None

    async def test_a_lost_answer_does_not_create_a_second_session(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        turn = await around_attempts(store, LostAnswers(times=1)).load_turn(tenant, agent_id=agent.id, **IDENTITY)
        assert turn.created
        assert await store.sessions.list_by_agent(tenant, agent.id) == [turn.session]

    async def test_a_session_is_named_in_one_way(self, store: TurnStore) -> None:
        tenant, agent = uuid4(), uuid4()
        for given in (
            {},
            {"session_id": uuid4(), "agent_id": agent},
            {"session_id": uuid4(), "agent_id": agent, **IDENTITY},
            {"agent_id": agent, "channel": Channel.EMAIL},
            IDENTITY,
        ):
            wrong: Any = given
            with pytest.raises(ValidationError, match="session_id"):
                await store.load_turn(tenant, **wrong)

    async def test_arguments_are_bounded(self, store: TurnStore) -> None:
        tenant, session = uuid4(), uuid4()
        for name, values in (
            ("rules", (-1, 1_001, True, 1.5)),
            ("episodes", (-1, 1_001, "5")),
            ("query", (5, "a\x00b")),
            ("query_embedding", VECTORS[:-1]),
            ("session_id", ("x", 5)),
        ):
            for value in values:
                wrong: Any = {"session_id": session, name: value}
                with pytest.raises(ValidationError, match=name):
                    await store.load_turn(tenant, **wrong)

    async def test_a_bound_store_loads_turns_of_its_tenant_alone(self, store: TurnStore) -> None:
        tenant = uuid4()
        agent = await saved_agent(store, tenant)
        session = await saved_session(store, tenant, agent_id=agent.id)
        bound = store.for_tenant(tenant)
        assert (await bound.load_turn(tenant, session_id=session.session_id)).session == session
        with pytest.raises(ValidationError, match="another tenant"):
            await bound.load_turn(uuid4(), session_id=session.session_id)
