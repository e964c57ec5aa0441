"""The ABCD data set: the shapes of its files, and the real files where they are available."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from convostore import Stores
from convostore.errors import ValidationError
from convostore.models import Channel
from convostore.replay import ConversationRecord, RuleRecord, ScenarioRecord, VariableRecord, read
from convostore.replay.abcd import AGENT, records
from tests.replay.conftest import Play

FILES = sorted((Path(__file__).parents[3] / "shared" / "data" / "abcd").glob("*.json"))

GUIDELINES = {
    "Account Access": {
        "description": "locked out",
        "subflows": {
            "Reset Two-Factor Auth": {
                "instructions": ["Be patient", "Wrap up"],
                "actions": [
                    {"type": "interaction", "button": "Pull up Account", "text": "Get the name", "subtext": []},
                    {
                        "type": "kb query",
                        "button": "Verify Identity",
                        "text": "Ask for",
                        "subtext": ["Zip Code - five digits", "Tell the customer that you check"],
                    },
                    {"type": "communication", "button": "N/A", "text": "Explain", "subtext": ["slowly"]},
                ],
            }
        },
    }
}


def recorded(**changes: Any) -> dict[str, Any]:
    marks: list[list[Any]] = [["agent", None, []], ["customer", None, []], ["action", "pull-up-account", ["joyce wu"]]]
    return {
        "convo_id": 7,
        "scenario": {
            "personal": {"customer_name": "joyce wu", "phone": "(859) 787-9085"},
            "order": {"order_id": "33", "products": "[{'brand': 'x'}]"},
            "product": {"names": ["x jeans"], "amounts": [94]},
        },
        "original": [["agent", "Hi!"], ["customer", "Joyce Wu"], ["action", "Pulled up."]],
        "delexed": [
            {"speaker": speaker, "text": "", "targets": ["reset_2fa", "", action, values, -1]}
            for speaker, action, values in marks
        ],
        **changes,
    }


def test_a_subflow_becomes_a_scenario_with_every_action_a_step() -> None:
    agent, scenario, *rules, variable = records(GUIDELINES, "guidelines.json")
    assert isinstance(scenario, ScenarioRecord)
    assert (agent.kind, scenario.name, scenario.tags) == ("agent", "Reset Two-Factor Auth", ("Account Access",))
    assert [step.name for step in scenario.steps] == ["1. Pull up Account", "2. Verify Identity", "3. N/A"]
    assert [step.tool for step in scenario.steps] == ["pull-up-account", "verify-identity", None]
    assert [step.say for step in scenario.steps] == ["Get the name", "Ask for", "Explain"]
    assert scenario.steps[1].collects == ("zip_code",)
    assert [rule.then for rule in rules if isinstance(rule, RuleRecord)] == ["Be patient", "Wrap up"]
    assert variable == VariableRecord(agent=AGENT, name="zip_code", tool="verify-identity")


def test_the_actions_of_a_subflow_become_a_rule_of_its_scenario() -> None:
    (rule,) = records({"reset_2fa": ["pull-up-account", "send-link"]}, "kb.json")
    assert isinstance(rule, RuleRecord)
    assert (rule.scenario, rule.tools, rule.hard) == (
        "Reset Two-Factor Auth",
        ("pull-up-account", "send-link"),
        True,
    )


@pytest.mark.parametrize("document", [[recorded()], {"train": [recorded()], "dev": []}], ids=["a list", "by split"])
def test_a_conversation_keeps_its_texts_and_its_actions(document: Any) -> None:
    (conversation,) = records(document, "abcd.json")
    assert isinstance(conversation, ConversationRecord)
    assert [line.text for line in conversation.turns] == ["Hi!", "Joyce Wu", "Pulled up."]
    assert [line.tool for line in conversation.turns] == [None, None, "pull-up-account"]
    assert conversation.turns[2].values == ("joyce wu",)
    assert conversation.scenario == "Reset Two-Factor Auth"
    assert conversation.user == "(859) 787-9085"
    assert conversation.order == {"order_id": "33"}
    assert [(product.name, product.amount) for product in conversation.products] == [("x jeans", 94)]


@pytest.mark.parametrize("document", [7, "x", {"a": 1}, [{"convo_id": 1}], {"a": {"b": 1}}])
def test_other_documents_are_refused_with_the_name_of_the_file(document: Any) -> None:
    with pytest.raises(ValidationError, match=r"odd\.json"):
        list(records(document, "odd.json"))


@pytest.mark.skipif(not FILES, reason="the ABCD files are not part of the repository")
async def test_the_real_files_become_one_agent_with_all_scenarios_and_all_turns(stores: Stores, play: Play) -> None:
    tenant = uuid4()
    listed = [record for path in FILES for record in read(path)]
    report = await play(listed, tenant)
    assert report.problems == []
    (agent,), total = await stores.config.get_agents(tenant)
    scenarios = await stores.config.get_scenarios(tenant, agent.id)
    assert (total, len(scenarios), sum(len(scenario.steps) for scenario in scenarios)) == (1, 55, 255)
    activations = await stores.config.get_tool_activations(tenant, agent.id)
    tools = {step.tool for record in listed if isinstance(record, ScenarioRecord) for step in record.steps} - {None}
    assert tools <= {activation.tool_id for activation in activations}
    conversations = [record for record in listed if isinstance(record, ConversationRecord)]
    lengths = []
    for record in conversations:
        session = await stores.sessions.get_by_channel(tenant, Channel.WEBCHAT, record.user)
        assert session is not None
        assert session.step_history
        turns = await stores.audit.list_turns_by_session(tenant, session.session_id)
        assert [turn.user_message or turn.agent_response for turn in turns] == [line.text for line in record.turns]
        lengths.append(len(turns))
    assert sorted(lengths) == [21, 22, 29]
