"""A turn of a conversation in ten steps, what it works on, and how the stores do it, by single calls and as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID, uuid4

from bench.data import Vectors
from bench.sessions import typical_session
from convostore import Stores
from convostore.models import (
    AgentConfig,
    AuditEvent,
    Channel,
    CustomerProfile,
    Episode,
    ProfileField,
    Rule,
    Scenario,
    ScenarioStep,
    Session,
    ToolCall,
    TurnRecord,
)
from convostore.testing.factories import (
    make_agent,
    make_asset,
    make_episode,
    make_event,
    make_field,
    make_identity,
    make_profile,
    make_rule,
    make_scenario,
    make_template,
    make_tool_activation,
    make_turn,
    make_variable,
)

T = TypeVar("T")

FOUND = 5
"""How many rules and episodes a search returns at most."""
REMEMBERED = 200
"""Episodes of each customer before the first turn."""
_FIELDS = ("first_name", "last_name", "city", "language", "tier", "birthday")
_MODEL = "random"


@dataclass(frozen=True)
class Conversation:
    """A customer who talks to an agent.

    Attributes:
        query: the embedding of what the customer says.
        numbers: of its turns; each way counts its own.
    """

    tenant_id: UUID
    agent_id: UUID
    session_id: UUID
    profile_id: UUID
    user_channel_id: str
    query: list[float]
    numbers: dict[str, count[int]] = field(default_factory=dict)


class Given(NamedTuple):
    """What the caller has in its hands for a turn: made before it is measured."""

    conversation: Conversation
    number: int
    episodes: list[Episode]
    field: ProfileField
    record: TurnRecord
    event: AuditEvent


class Result(NamedTuple):
    """What a turn has read."""

    session: Session
    profile: CustomerProfile
    config: AgentConfig
    rules: list[tuple[Rule, float]]
    episodes: list[tuple[Episode, float]]


class Way(Protocol):
    """A way to do the steps of a turn. What is read is there."""

    async def session(self, conversation: Conversation, *, by_channel: bool) -> Session: ...

    async def profile(self, conversation: Conversation) -> CustomerProfile: ...

    async def config(self, conversation: Conversation) -> AgentConfig: ...

    async def rules(self, conversation: Conversation) -> list[tuple[Rule, float]]: ...

    async def episodes(self, conversation: Conversation) -> list[tuple[Episode, float]]: ...

    async def add_episodes(self, episodes: list[Episode]) -> object: ...

    async def update_field(self, conversation: Conversation, field: ProfileField) -> object: ...

    async def save_turn(self, record: TurnRecord) -> object: ...

    async def save_event(self, event: AuditEvent) -> object: ...

    async def save_session(self, session: Session) -> object: ...


async def read(way: Way, given: Given) -> Result:
    """Read what a turn begins with. The session is found by its id and by its channel in turns."""
    conversation = given.conversation
    session = await way.session(conversation, by_channel=given.number % 2 == 1)
    profile = await way.profile(conversation)
    config = await way.config(conversation)
    rules = await way.rules(conversation)
    episodes = await way.episodes(conversation)
    return Result(session, profile, config, rules, episodes)


async def turn(way: Way, given: Given) -> Result:
    """Run a turn; return what it has read, with the session as it was saved."""
    found = await read(way, given)
    await way.add_episodes(given.episodes)
    await way.update_field(given.conversation, given.field)
    await way.save_turn(given.record)
    await way.save_event(given.event)
    found.session.variables["turn"] = given.number
    await way.save_session(found.session)
    return found


class ByStores:
    """The turn by single calls of the stores."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def session(self, conversation: Conversation, *, by_channel: bool) -> Session:
        sessions, c = self._stores.sessions, conversation
        found = (
            await sessions.get_by_channel(c.tenant_id, Channel.WEBCHAT, c.user_channel_id, agent_id=c.agent_id)
            if by_channel
            else await sessions.get(c.session_id, tenant_id=c.tenant_id)
        )
        return _there(found)

    async def profile(self, conversation: Conversation) -> CustomerProfile:
        c = conversation
        return _there(
            await self._stores.profiles.get_by_channel_identity(c.tenant_id, Channel.WEBCHAT, c.user_channel_id)
        )

    async def config(self, conversation: Conversation) -> AgentConfig:
        return _there(await self._stores.config.get_agent_config(conversation.tenant_id, conversation.agent_id))

    async def rules(self, conversation: Conversation) -> list[tuple[Rule, float]]:
        c = conversation
        return await self._stores.config.vector_search_rules(
            c.query, c.tenant_id, c.agent_id, limit=FOUND, min_score=-1.0
        )

    async def episodes(self, conversation: Conversation) -> list[tuple[Episode, float]]:
        c = conversation
        return await self._stores.memory.vector_search_episodes(
            c.query, c.tenant_id, c.agent_id, customer_profile_id=c.profile_id, limit=FOUND, min_score=-1.0
        )

    async def add_episodes(self, episodes: list[Episode]) -> object:
        return await self._stores.memory.add_episodes(episodes)

    async def update_field(self, conversation: Conversation, field: ProfileField) -> None:
        await self._stores.profiles.update_field(conversation.tenant_id, conversation.profile_id, field)

    async def save_turn(self, record: TurnRecord) -> object:
        return await self._stores.audit.save_turn(record)

    async def save_event(self, event: AuditEvent) -> object:
        return await self._stores.audit.save_event(event)

    async def save_session(self, session: Session) -> object:
        return await self._stores.sessions.save(session)


class ByUnits:
    """The turn by `load_turn` and `unit_of_work`: what belongs together, loaded and committed together."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def turn(self, given: Given) -> Result:
        c = given.conversation
        named: dict[str, Any] = (
            {"agent_id": c.agent_id, "channel": Channel.WEBCHAT, "user_channel_id": c.user_channel_id}
            if given.number % 2 == 1
            else {"session_id": c.session_id}
        )
        loaded = await self._stores.load_turn(
            c.tenant_id, **named, query_embedding=c.query, rules=FOUND, episodes=FOUND, timeout=_TIMEOUT
        )
        session = loaded.session
        session.variables["turn"] = given.number
        async with self._stores.unit_of_work(c.tenant_id, timeout=_TIMEOUT) as work:
            work.add_episodes(given.episodes)
            work.update_field(c.profile_id, given.field)
            work.save_turn(given.record)
            work.save_event(given.event)
            work.save_session(session)
        return Result(session, _there(loaded.profile), loaded.config, loaded.rules, loaded.episodes)


_TIMEOUT = 60.0
"""Seconds that a call has: on a busy machine 64 conversations at a time may take longer than the default."""


def _there(found: T | None) -> T:
    if found is None:
        raise LookupError("what a turn reads is not stored")
    return found


async def made(stores: Stores, tenants: int, conversations: int, remembered: int = REMEMBERED) -> list[Conversation]:
    """Save agents, one per tenant, and conversations, spread over the tenants, with so many episodes each."""
    vectors = Vectors()
    agents = [(tenant, await _agent(stores, tenant, vectors)) for tenant in (uuid4() for _ in range(tenants))]
    return [await _conversation(stores, *agents[n % tenants], vectors, remembered) for n in range(conversations)]


async def _agent(stores: Stores, tenant: UUID, vectors: Vectors) -> UUID:
    agent = make_agent(tenant, description="Sells tea.", system_prompt="Be kind. " * 50, metadata={"team": "tea"})
    config, of = stores.config, (tenant, agent.id)
    await config.save_agent(agent)
    await config.save_rules(
        [
            make_rule(*of, name=f"rule {n}", priority=n % 5, embedding=vectors.floats(), embedding_model=_MODEL)
            for n in range(20)
        ]
    )
    await config.save_scenarios([_scenario(*of, n) for n in range(5)])
    await config.save_templates([make_template(*of, name=f"template {n}", text="Hello! " * 10) for n in range(10)])
    await config.save_variables([make_variable(*of) for _ in range(5)])
    await config.save_tool_activations([make_tool_activation(*of) for _ in range(5)])
    return agent.id


def _scenario(tenant: UUID, agent: UUID, number: int) -> Scenario:
    scenario_id = uuid4()
    steps = [ScenarioStep(id=uuid4(), scenario_id=scenario_id, name=f"step {n}") for n in range(4)]
    return make_scenario(
        tenant, agent, id=scenario_id, name=f"scenario {number}", entry_step_id=steps[0].id, steps=steps
    )


async def _conversation(stores: Stores, tenant: UUID, agent: UUID, vectors: Vectors, remembered: int) -> Conversation:
    user = f"user {uuid4()}"
    profile = make_profile(
        tenant,
        channel_identities=[
            make_identity(channel=Channel.WEBCHAT, channel_user_id=user, primary=True),
            make_identity(channel=Channel.WHATSAPP),
        ],
        fields={name: make_field(name, f"the {name}") for name in _FIELDS},
        assets=[make_asset()],
    )
    session = typical_session(tenant)
    session.agent_id, session.customer_profile_id = agent, profile.id
    session.channel, session.user_channel_id = Channel.WEBCHAT, user
    conversation = Conversation(tenant, agent, session.session_id, profile.id, user, vectors.floats())
    await stores.profiles.save_profile(profile)
    await stores.sessions.save(session)
    await stores.memory.within(60).add_episodes(_episodes(conversation, remembered, vectors))
    return conversation


def _episodes(conversation: Conversation, number: int, vectors: Vectors) -> list[Episode]:
    c = conversation
    return [
        make_episode(
            c.tenant_id,
            c.agent_id,
            customer_profile_id=c.profile_id,
            session_id=c.session_id,
            group_id=c.session_id,
            content="Where is my parcel? It should have been here on Monday.",
            embedding=vectors.floats(),
            embedding_model=_MODEL,
            language="simple",
            metadata={"channel": "web"},
        )
        for _ in range(number)
    ]


def given(conversation: Conversation, way: str) -> Given:
    """Make what the next turn of a conversation is given in one way: the same content as in the other, but for ids."""
    c, number = conversation, next(conversation.numbers.setdefault(way, count()))
    vectors = Vectors(c.session_id.int + number)
    record = make_turn(
        c.tenant_id,
        agent_id=c.agent_id,
        session_id=c.session_id,
        customer_profile_id=c.profile_id,
        turn_number=number,
        user_message="Where is my parcel? It should have been here on Monday. " * 3,
        agent_response="I am sorry about that. I have looked it up, and it will arrive tomorrow before noon. " * 4,
        matched_rule_ids=[uuid4() for _ in range(2)],
        tool_calls=[
            ToolCall(
                tool_id="parcels",
                tool_name="find parcel",
                input={"order": 4711},
                output={"status": "on its way", "stops": [1, 2, 3]},
                success=True,
                latency_ms=81.5,
            )
        ],
        metadata={"channel": "web", "model": "one"},
    )
    event = make_event(
        c.tenant_id,
        event_type="parcel.found",
        event_data={"order": 4711, "status": "on its way"},
        session_id=c.session_id,
        turn_id=record.turn_id,
        customer_profile_id=c.profile_id,
    )
    field = make_field(_FIELDS[number % len(_FIELDS)], f"value {number}")
    return Given(c, number, _episodes(c, 2, vectors), field, record, event)
