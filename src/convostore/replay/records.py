"""The format of a replay: one JSON object per line, in any order, each of one of these kinds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from convostore.models import Channel, TemplateMode
from convostore.models.fields import ChannelUserId, Identifier, Key, Name, Text, UtcDatetime


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AgentRecord(_Line):
    """An agent."""

    kind: Literal["agent"] = "agent"
    name: Name
    description: Text | None = None
    system_prompt: Text | None = None


class StepRecord(_Line):
    """A step of a scenario; the step after it in the list is the next one.

    Attributes:
        name: its name.
        description: what it is for.
        say: a text for the agent, which becomes a template of the step.
        tool: the tool that a turn of the step uses: such a turn of a conversation enters the step.
        collects: names of the customer's fields that the step finds out.
    """

    name: Name
    description: Text | None = None
    say: Text | None = None
    tool: Identifier | None = None
    collects: tuple[Key, ...] = ()


class ScenarioRecord(_Line):
    """A scenario of an agent, with its steps in order."""

    kind: Literal["scenario"] = "scenario"
    agent: Name
    name: Name
    description: Text | None = None
    starts_when: Text | None = None
    tags: tuple[str, ...] = ()
    steps: Annotated[tuple[StepRecord, ...], Field(min_length=1)]


class RuleRecord(_Line):
    """A rule of an agent, everywhere or, with a scenario's name, in that scenario."""

    kind: Literal["rule"] = "rule"
    agent: Name
    name: Name
    when: Text
    then: Text
    scenario: Name | None = None
    tools: tuple[Identifier, ...] = ()
    hard: bool = False
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class TemplateRecord(_Line):
    """A text for an agent, everywhere or, with a scenario's name, in that scenario."""

    kind: Literal["template"] = "template"
    agent: Name
    name: Name
    text: Text
    mode: TemplateMode = TemplateMode.SUGGEST
    scenario: Name | None = None


class VariableRecord(_Line):
    """A variable of an agent and the tool that finds out its value."""

    kind: Literal["variable"] = "variable"
    agent: Name
    name: Key
    tool: Identifier
    description: Text | None = None


class TurnLine(_Line):
    """What one speaker contributed: the customer or the agent said it, or a tool did it."""

    speaker: Literal["customer", "agent", "action"]
    text: Text
    tool: Identifier | None = None
    values: tuple[Text, ...] = ()


class ProductRecord(_Line):
    """A product that an order contains."""

    name: Name
    amount: float | None = None


class ConversationRecord(_Line):
    """A recorded conversation.

    Attributes:
        agent: the agent's name.
        key: what tells this conversation from the agent's others: replaying it again changes nothing.
        user: what the channel calls the customer.
        channel: the channel.
        scenario: the name of the agent's scenario it belongs to.
        started_at: when it began; its turns are ten seconds apart.
        customer: what is known of the customer, by the names of profile fields.
        order: what is known of the order it is about; `order_id` names it.
        products: what the order contains.
        turns: what was said and done, in order.
    """

    kind: Literal["conversation"] = "conversation"
    agent: Name
    key: Identifier
    user: ChannelUserId
    channel: Channel = Channel.WEBCHAT
    scenario: Name | None = None
    started_at: UtcDatetime = datetime(2020, 1, 1, tzinfo=UTC)
    customer: dict[Key, Text] = {}
    order: dict[str, Text] = {}
    products: tuple[ProductRecord, ...] = ()
    turns: tuple[TurnLine, ...]


Record = AgentRecord | ScenarioRecord | RuleRecord | TemplateRecord | VariableRecord | ConversationRecord

RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
"""Checks one line."""
