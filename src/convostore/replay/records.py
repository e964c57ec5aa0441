"""The format of a replay: JSON Lines of these records, in any order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from convostore.models import Channel, TemplateMode
from convostore.models.fields import ChannelUserId, Identifier, Key, Name, Text, UtcDatetime, named_keys

# What is wrong in a line is named; what it holds is customer data.
_HIDDEN = ConfigDict(hide_input_in_errors=True)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, **_HIDDEN)


class AgentRecord(_Line):
    """An agent."""

    kind: Literal["agent"] = "agent"
    name: Name
    description: Text | None = None
    system_prompt: Text | None = None


class StepRecord(_Line):
    """A step of a scenario; it leads to the step after it in the list.

    Attributes:
        name: its name.
        description: its purpose.
        say: a text for the agent, which becomes a template of the step.
        tool: the tool of the step; a turn that uses it enters the step.
        collects: the names of the customer's fields that the step asks for.
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
    """A rule of an agent, for all scenarios or for the named one."""

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
    """A template of an agent, for all scenarios or for the named one."""

    kind: Literal["template"] = "template"
    agent: Name
    name: Name
    text: Text
    mode: TemplateMode = TemplateMode.SUGGEST
    scenario: Name | None = None


class VariableRecord(_Line):
    """A variable of an agent, and the tool that resolves it."""

    kind: Literal["variable"] = "variable"
    agent: Name
    name: Key
    tool: Identifier
    description: Text | None = None


class TurnLine(_Line):
    """One line of a conversation: by the customer, by the agent, or of a tool."""

    speaker: Literal["customer", "agent", "action"]
    text: Text
    tool: Identifier | None = None
    values: tuple[Text, ...] = ()


class ProductRecord(_Line):
    """A product of an order."""

    name: Name
    amount: float | None = None


class ConversationRecord(_Line):
    """A recorded conversation.

    Attributes:
        agent: the agent's name.
        key: identifies the conversation among the agent's; ids are derived from it, so that a replay is idempotent.
        user: the customer's id on the channel.
        channel: the channel.
        scenario: the name of its scenario.
        started_at: its start; turns are ten seconds apart.
        customer: the customer's data, by the names of profile fields.
        order: the data of the order it is about; `order_id` is its id.
        products: the products of the order.
        turns: its lines, in order.
    """

    kind: Literal["conversation"] = "conversation"
    agent: Name
    key: Identifier
    user: ChannelUserId
    channel: Channel = Channel.WEBCHAT
    scenario: Name | None = None
    started_at: UtcDatetime = datetime(2020, 1, 1, tzinfo=UTC)
    customer: Annotated[dict[Key, Text], named_keys] = {}
    order: Annotated[dict[str, Text], named_keys] = {}
    products: tuple[ProductRecord, ...] = ()
    turns: tuple[TurnLine, ...]


Record = AgentRecord | ScenarioRecord | RuleRecord | TemplateRecord | VariableRecord | ConversationRecord

RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")], config=_HIDDEN)
"""Validates one line."""
