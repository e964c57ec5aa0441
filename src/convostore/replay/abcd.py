"""Reads ABCD, the Action-Based Conversations Dataset: Chen et al., NAACL 2021, MIT licence.

Its files are distinguished by their shape: `guidelines.json` (flows, subflows and the actions of an agent in each),
`kb.json` (the actions of each subflow), and conversations, as a list or by split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from convostore.errors import ValidationError
from convostore.replay.records import (
    AgentRecord,
    ConversationRecord,
    ProductRecord,
    Record,
    RuleRecord,
    ScenarioRecord,
    StepRecord,
    TurnLine,
    VariableRecord,
)

AGENT = "ABCD support"

_SUBFLOWS = {
    # The name in actions and conversations, where it is not the lower-case name of the guidelines.
    "refund_initiate": "Initiate Refund",
    "refund_update": "Update Refund",
    "return_stain": "Return Due to Stain",
    "return_color": "Return Due to Color",
    "return_size": "Return Due to Size",
    "reset_2fa": "Reset Two-Factor Auth",
    "credit_card": "Invalid Credit Card",
    "shopping_cart": "Cart Not Updating",
    "search_results": "Search Not Working",
    "slow_speed": "Website Too Slow",
    "out_of_stock_general": "Out-of-Stock General",
    "out_of_stock_one_item": "Out-of-Stock One Item",
    "promo_code_out_of_date": "Promo Code Out of Date",
    "status": "Shipping Status",
    "manage": "Manage Shipping",
    "missing": "Missing Item",
    "cost": "Shipping Cost",
}
_FAQ = ("boots", "shirt", "jeans", "jacket", "pricing", "membership", "timing", "policy")

_TOOLS = {
    # The tool of a button, where it is not the button's lower-case label.
    "enter-detail": "enter-details",
    "notify-internal-team": "notify-team",
    "membership-privileges": "membership",
    "select-answer": "select-faq",
    **{topic: f"search-{topic}" for topic in _FAQ},
}
_NO_TOOL = ("n-a", "end-conversation")


def records(document: Any, name: str) -> Iterator[Record]:
    """Yield the records of a parsed file.

    Args:
        document: the content of the file.
        name: the name of the file, for errors.

    Raises:
        ValidationError: the file is none of ABCD's.
    """
    try:
        if isinstance(document, list):
            yield from map(_conversation, document)
        elif all(isinstance(value, dict) for value in document.values()):
            yield from _guidelines(document)
        elif all(isinstance(item, str) for value in document.values() for item in value):
            yield from _actions(document)
        else:
            yield from (_conversation(item) for split in document.values() for item in split)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValidationError(f"{name}: is none of ABCD's files; other records go into a .jsonl file") from error


def _guidelines(flows: dict[str, Any]) -> Iterator[Record]:
    yield AgentRecord(name=AGENT, description="A shop's customer support, by the guidelines of its agents")
    variables: dict[str, str] = {}
    for flow, content in flows.items():
        for name, subflow in content["subflows"].items():
            steps = [_step(number, action) for number, action in enumerate(subflow["actions"], start=1)]
            for step in steps:
                variables.update((field, step.tool) for field in step.collects if step.tool and field not in variables)
            yield ScenarioRecord(
                agent=AGENT,
                name=name,
                description=f"{flow}: {content['description']}",
                starts_when=f"The customer's matter is: {name}",
                tags=(flow,),
                steps=tuple(steps),
            )
            for number, instruction in enumerate(subflow["instructions"], start=1):
                yield RuleRecord(
                    agent=AGENT,
                    name=f"{name}, instruction {number}",
                    when=f"The customer's matter is: {name}",
                    then=instruction,
                    scenario=name,
                )
    for variable, tool in variables.items():
        yield VariableRecord(agent=AGENT, name=variable, tool=tool)


def _step(number: int, action: dict[str, Any]) -> StepRecord:
    label = re.sub(r"[^a-z0-9]+", "-", action["button"].lower()).strip("-")
    return StepRecord(
        name=f"{number}. {action['button']}",
        description="\n".join(action["subtext"]) or None,
        say=action["text"],
        tool=None if label in _NO_TOOL else _TOOLS.get(label, label),
        collects=tuple(_fields(action["subtext"])) if action["type"] == "kb query" else (),
    )


def _fields(notes: list[str]) -> Iterator[str]:
    """Yield the fields that a query asks for: the words before a note's dash, unless they are a sentence."""
    for note in notes:
        head = note.partition(" - ")[0].strip()
        if re.fullmatch(r"[A-Za-z]+( [A-Za-z]+)?", head):
            yield head.lower().replace(" ", "_")


def _actions(subflows: dict[str, list[str]]) -> Iterator[Record]:
    for subflow, actions in subflows.items():
        name = _scenario(subflow)
        yield RuleRecord(
            agent=AGENT,
            name=f"{name}, actions",
            when=f"The customer's matter is: {name}",
            then=f"Use these actions, in this order: {', '.join(actions)}",
            scenario=name,
            tools=tuple(actions),
            hard=True,
        )


def _conversation(recorded: dict[str, Any]) -> ConversationRecord:
    scenario = recorded["scenario"]
    personal, product = scenario["personal"], scenario["product"]
    marked = recorded["delexed"]
    texts = [text for _, text in recorded["original"]]
    return ConversationRecord(
        agent=AGENT,
        key=str(recorded["convo_id"]),
        user=personal.get("username") or personal.get("email") or personal["phone"],
        scenario=_scenario(marked[0]["targets"][0]),
        customer=personal,
        order={name: value for name, value in scenario["order"].items() if name != "products"},
        products=tuple(
            ProductRecord(name=name, amount=amount)
            for name, amount in zip(product["names"], product["amounts"], strict=True)
        ),
        turns=tuple(_turn(text, turn) for text, turn in zip(texts, marked, strict=True)),
    )


def _turn(text: str, marked: dict[str, Any]) -> TurnLine:
    _, _, action, values, _ = marked["targets"]
    return TurnLine(speaker=marked["speaker"], text=text, tool=action, values=tuple(values))


def _scenario(subflow: str) -> str:
    if subflow in _FAQ:
        return f"{subflow.title()} FAQ"
    return _SUBFLOWS.get(subflow) or subflow.replace("_", " ").title()
