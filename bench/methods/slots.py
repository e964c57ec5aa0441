"""What the calls of every method work on: slots, each with rows of its own, so that concurrent calls do not meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4, uuid5

from bench.data import Vectors
from bench.engines import TENANTS
from bench.sessions import typical_session
from convostore import Stores
from convostore.domain.declarations import AGENT, CONFIG, ENTITY, EPISODE, RELATIONSHIP
from convostore.models import AuditEvent, Channel, CustomerProfile, Entity, Episode, Session, TurnRecord
from convostore.testing.config.rows import CONFIG_ROWS
from convostore.testing.factories import (
    make_agent,
    make_asset,
    make_entity,
    make_episode,
    make_event,
    make_field,
    make_identity,
    make_profile,
    make_relationship,
    make_turn,
)

EACH = 6
"""Rows of each kind in a slot: a list returns as many."""
COUNT = 256
_MODEL = "random"


@dataclass(frozen=True)
class Slot:
    """Rows of one agent and one customer of a tenant: `rows` by the name of their declaration."""

    tenant: UUID
    agent: UUID
    rows: dict[str, list[Any]]
    profiles: list[CustomerProfile]
    query: list[float]

    @property
    def customer(self) -> UUID:
        return self.profiles[0].id

    @property
    def session(self) -> UUID:
        found: UUID = self.rows["session"][0].session_id
        return found


def made(tenants: int, vectors: Vectors) -> list[Slot]:
    """Make slots, spread over tenants."""
    return [_slot(TENANTS[number % tenants], uuid5(UUID(int=tenants), str(number)), vectors) for number in range(COUNT)]


def _slot(tenant: UUID, key: UUID, vectors: Vectors) -> Slot:
    agents = [make_agent(tenant, name=f"agent {key} {n}") for n in range(EACH)]
    owner = agents[0].id
    rows: dict[str, list[Any]] = {"agent": agents}
    for each in CONFIG_ROWS:
        declaration = each.declaration
        if declaration is not AGENT:
            named = [
                {column: f"{column}_{n}"} if (column := declaration.order[-1]) in ("name", "tool_id") else {}
                for n in range(EACH)
            ]
            rows[declaration.name] = [each.make(tenant, owner, **changes) for changes in named]
    for rule in rows["rule"]:
        rule.embedding, rule.embedding_model = vectors.floats(), _MODEL
    profiles = [profile(tenant) for _ in range(2)]
    customer = profiles[0].id
    sessions = [_session(tenant, owner, customer) for _ in range(2)]
    entities = [entity(tenant, owner, customer) for _ in range(EACH)]
    rows |= {
        "session": sessions,
        "episode": [episode(tenant, owner, customer, sessions[0].session_id, vectors) for _ in range(EACH)],
        "entity": entities,
        "relationship": [make_relationship(entities[0], other) for other in entities[1:]],
        "turn": [turn(tenant, owner, customer, sessions[0].session_id, n) for n in range(EACH)],
        "event": [event(tenant, customer, sessions[0].session_id) for _ in range(EACH)],
    }
    return Slot(tenant, owner, rows, profiles, vectors.floats())


def profile(tenant: UUID) -> CustomerProfile:
    """Make a profile."""
    identities = [
        make_identity(channel=Channel.WEBCHAT, channel_user_id=str(uuid4()), primary=True),
        make_identity(channel=Channel.WHATSAPP, channel_user_id=str(uuid4())),
    ]
    fields = {name: make_field(name, f"the {name} {uuid4()}") for name in ("city", "language", "tier")}
    return make_profile(tenant, channel_identities=identities, fields=fields, assets=[make_asset()])


def _session(tenant: UUID, agent: UUID, customer: UUID) -> Session:
    session = typical_session(tenant)
    session.agent_id, session.customer_profile_id = agent, customer
    session.channel, session.user_channel_id = Channel.WEBCHAT, str(uuid4())
    return session


def episode(tenant: UUID, agent: UUID, customer: UUID, session: UUID, vectors: Vectors) -> Episode:
    """Make an episode with a vector."""
    return make_episode(
        tenant,
        agent,
        customer_profile_id=customer,
        session_id=session,
        content="Where is my parcel? It should have been here on Monday.",
        embedding=vectors.floats(),
        embedding_model=_MODEL,
        language="simple",
        metadata={"channel": "web"},
    )


def entity(tenant: UUID, agent: UUID, customer: UUID) -> Entity:
    """Make an entity."""
    return make_entity(tenant, agent, customer_profile_id=customer, name="Blue parcel", attributes={"colour": "blue"})


def turn(tenant: UUID, agent: UUID, customer: UUID, session: UUID, number: int) -> TurnRecord:
    """Make a turn of a session."""
    return make_turn(
        tenant,
        agent_id=agent,
        session_id=session,
        customer_profile_id=customer,
        turn_number=number,
        user_message="Where is my parcel? It should have been here on Monday. " * 3,
        agent_response="I am sorry about that. I have looked it up, and it will arrive tomorrow before noon. " * 4,
    )


def event(tenant: UUID, customer: UUID, session: UUID) -> AuditEvent:
    """Make an event of a session."""
    return make_event(tenant, customer_profile_id=customer, session_id=session, event_data={"rule": "greeting"})


async def stored(stores: Stores, slots: Sequence[Slot]) -> None:
    """Save what the slots have, in calls for one tenant and kind."""
    for tenant in {slot.tenant for slot in slots}:
        owned = [slot for slot in slots if slot.tenant == tenant]
        for store, verb, kinds in _KINDS:
            for name, plural in kinds.items():
                save = getattr(getattr(stores, store).within(60), f"{verb}_{plural}")
                for n in range(max(len(slot.rows[name]) for slot in owned)):
                    await save([slot.rows[name][n] for slot in owned if n < len(slot.rows[name])])
    for slot in slots:
        for each in slot.profiles:
            await stores.profiles.save_profile(each)
        for session in slot.rows["session"]:
            await stores.sessions.save(session)
        await stores.config.archive_scenario_version(slot.tenant, slot.rows["scenario"][0])


_KINDS = (
    ("config", "save", {declaration.name: declaration.plural for declaration in CONFIG}),
    ("memory", "add", {each.name: each.plural for each in (EPISODE, ENTITY, RELATIONSHIP)}),
    ("audit", "save", {"turn": "turns", "event": "events"}),
)
