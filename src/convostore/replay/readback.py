"""Reads a replayed conversation back from the five stores and compares it with what was written."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from uuid import UUID

from pydantic import JsonValue

from convostore.models import AuditEvent, Entity, Episode, ProfileField, Relationship, Session, TurnRecord
from convostore.replay.report import Report
from convostore.stores import Stores

_PAGE = 1_000
_NEAR = 0.999


@dataclass(frozen=True)
class Written:
    """What one conversation wrote to the stores.

    Attributes:
        profile_id: the customer's profile.
        session: the session as last saved.
        turns: its turns, in order.
        events: its events by time.
        episodes: its episodes, oldest first.
        entities: the graph's entities, the customer first.
        relationships: the graph's relationships, all reachable from the customer.
        fields: the profile fields that it wrote.
        known: the values of all fields of the profile, by name.
    """

    profile_id: UUID
    session: Session
    turns: list[TurnRecord]
    events: list[AuditEvent]
    episodes: list[Episode]
    entities: list[Entity]
    relationships: list[Relationship]
    fields: list[ProfileField]
    known: dict[str, JsonValue]


async def read_back(stores: Stores, written: Written, report: Report, where: str) -> None:
    """Read everything back, by ids, lists, searches and the graph, and compare.

    Args:
        stores: the stores.
        written: what must be found.
        report: takes the counts and the checks.
        where: names the conversation in problems.
    """
    await _sessions(stores, written, report, where)
    await _audit(stores, written, report, where)
    await _episodes(stores, written, report, where)
    await _graph(stores, written, report, where)
    await _profile(stores, written, report, where)


async def _sessions(stores: Stores, written: Written, report: Report, where: str) -> None:
    session = written.session
    tenant, user = session.tenant_id, session.user_channel_id
    read = await stores.sessions.get(session.session_id, tenant_id=tenant)
    report.compare("sessions", "sessions", [session], [read], where)
    by_channel = await stores.sessions.get_by_channel(tenant, session.channel, user)
    report.check("sessions: the customer's channel leads to a session", by_channel is not None, where)
    listed = await stores.sessions.list_by_customer(tenant, written.profile_id, limit=_PAGE)
    report.check("sessions: the customer's list contains the session", session in listed, where)


async def _audit(stores: Stores, written: Written, report: Report, where: str) -> None:
    tenant, session_id = written.session.tenant_id, written.session.session_id
    turns: list[TurnRecord] = []
    while len(turns) % _PAGE == 0:
        page = await stores.audit.list_turns_by_session(tenant, session_id, limit=_PAGE, offset=len(turns))
        turns += page
        if not page:
            break
    report.compare("audit", "turns", written.turns, turns, where)
    events = await stores.audit.list_events(tenant, session_id=session_id, limit=_PAGE)
    in_time = attrgetter("timestamp", "id")
    report.compare("audit", "events", sorted(written.events, key=in_time), sorted(events, key=in_time), where)


async def _episodes(stores: Stores, written: Written, report: Report, where: str) -> None:
    session, memory = written.session, stores.memory
    tenant, agent = session.tenant_id, session.agent_id
    episodes = await memory.get_episodes(tenant, agent, session_id=session.session_id)
    report.compare("memory", "episodes", written.episodes, reversed(episodes), where)
    for episode in written.episodes[:1]:
        nearest = await memory.vector_search_episodes(episode.embedding or [], tenant, agent, limit=1)
        report.check("memory: an episode is found by its vector", nearest[0][1] >= _NEAR, where)
        quoted = f'"{episode.content}"'
        found = await memory.text_search_episodes(quoted, tenant, agent, limit=_PAGE)
        report.check("memory: an episode is found by its words", episode in found, where)


async def _graph(stores: Stores, written: Written, report: Report, where: str) -> None:
    tenant, memory = written.session.tenant_id, stores.memory
    entities = [await memory.get_entity(tenant, entity.id) for entity in written.entities]
    report.compare("memory", "entities", written.entities, entities, where)
    reached = await memory.traverse_from_entities(tenant, [written.entities[0].id], max_depth=2)
    in_order = attrgetter("id")
    expected = sorted(written.relationships, key=in_order)
    report.compare("memory", "relationships", expected, sorted(reached, key=in_order), where)


async def _profile(stores: Stores, written: Written, report: Report, where: str) -> None:
    session = written.session
    profile = await stores.profiles.get_by_channel_identity(session.tenant_id, session.channel, session.user_channel_id)
    fields = profile.fields if profile else {}
    report.written["profiles", "profiles"] += 1
    report.read["profiles", "profiles"] += profile is not None
    report.compare("profiles", "fields", written.fields, [fields.get(item.name) for item in written.fields], where)
    values = {name: item.value for name, item in fields.items()}
    report.check("profiles: the channel identity leads to all fields", values == written.known, where)
