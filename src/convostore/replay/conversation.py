"""Replays one conversation as a worker would: each turn reads the session, works, and saves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from convostore.errors import NotFoundError
from convostore.models import (
    AuditEvent,
    Episode,
    ProfileField,
    ProfileFieldSource,
    Scenario,
    ScenarioStep,
    Session,
    SessionStatus,
    StepVisit,
    ToolCall,
    TurnRecord,
)
from convostore.replay.embedder import HashingEmbedder
from convostore.replay.graph import graph
from convostore.replay.ids import Ids, content_hash
from convostore.replay.readback import Written, read_back
from convostore.replay.records import ConversationRecord, TurnLine
from convostore.replay.report import Report
from convostore.stores import Stores

_PACE = timedelta(seconds=10)
_SOURCES: dict[str, Literal["user", "agent", "system"]] = {"customer": "user", "agent": "agent", "action": "system"}


class Conversation:
    """One conversation of one tenant."""

    def __init__(
        self, stores: Stores, tenant_id: UUID, record: ConversationRecord, embedder: HashingEmbedder, report: Report
    ) -> None:
        self._stores = stores
        self._record = record
        self._embedder = embedder
        self._report = report
        self._where = f"conversation {record.key}"
        self._ids = Ids(tenant_id)
        self._tenant_id = tenant_id
        self._agent_id = self._ids("agent", record.agent)
        self._session_id = self._ids("session", record.agent, record.key)
        self._scenario: Scenario | None = None
        self._step: ScenarioStep | None = None
        self._known: dict[str, JsonValue] = {}
        self._turns: list[TurnRecord] = []
        self._events: list[AuditEvent] = []
        self._episodes: list[Episode] = []
        self._fields: list[ProfileField] = []

    async def play(self) -> None:
        """Write the conversation turn by turn, then read it back and compare."""
        record = self._record
        profile = await self._stores.profiles.get_or_create(self._tenant_id, record.channel, record.user)
        self._known = {name: item.value for name, item in profile.fields.items()}
        await self._begin(profile.id)
        for number, line in enumerate(record.turns, start=1):
            await self._turn(profile.id, number, line)
        session = await self._end(profile.id, len(record.turns))
        entities, relationships = graph(record, self._ids, self._tenant_id, profile.id)
        written = Written(
            profile_id=profile.id,
            session=session,
            turns=self._turns,
            events=self._events,
            episodes=self._episodes,
            entities=entities,
            relationships=relationships,
            fields=self._fields,
            known=self._known,
        )
        for entity in written.entities:
            await self._stores.memory.add_entity(entity)
        for relationship in written.relationships:
            await self._stores.memory.add_relationship(relationship)
        await read_back(self._stores, written, self._report, self._where)

    async def _begin(self, profile_id: UUID) -> None:
        record, sessions = self._record, self._stores.sessions
        if record.scenario:
            scenario_id = self._ids("scenario", record.agent, record.scenario)
            self._scenario = await self._stores.config.get_scenario(self._tenant_id, scenario_id)
        if await sessions.get(self._session_id, tenant_id=self._tenant_id) is None:
            session = Session(
                session_id=self._session_id,
                tenant_id=self._tenant_id,
                agent_id=self._agent_id,
                channel=record.channel,
                user_channel_id=record.user,
                customer_profile_id=profile_id,
                variables={**record.order},
            )
            if self._scenario is not None:
                session.active_scenario_id = self._scenario.id
                session.active_scenario_version = self._scenario.version
                session.scenario_checksum = self._scenario.content_hash
            await sessions.save(session)
        await self._event("session_started", 0, {"channel": record.channel, "scenario": record.scenario})

    async def _turn(self, profile_id: UUID, number: int, line: TurnLine) -> None:
        session = await self._session()
        embedding = self._embedder.embed(line.text)
        if line.speaker == "customer":
            await self._recall(profile_id, embedding)
        entered = self._next_step(line)
        self._step = entered or self._step
        await self._record_turn(profile_id, number, line)
        await self._remember(profile_id, number, line, embedding)
        if line.tool:
            await self._event("tool_called", number, {"tool_id": line.tool, "values": [*line.values]})
        if session.turn_count < number:
            await self._learn_from(profile_id, number, line)
            await self._save_session(session, number, entered)

    async def _recall(self, profile_id: UUID, embedding: list[float]) -> None:
        """Search as an agent does before it answers: for episodes of the customer, and for rules."""
        await self._stores.memory.vector_search_episodes(
            embedding, self._tenant_id, self._agent_id, customer_profile_id=profile_id, limit=3
        )
        await self._stores.config.vector_search_rules(embedding, self._tenant_id, self._agent_id, limit=3)

    def _next_step(self, line: TurnLine) -> ScenarioStep | None:
        """Return the step that a line enters: the next after the current one, cyclically, that uses its tool."""
        if self._scenario is None or line.tool is None:
            return None
        steps = self._scenario.steps
        passed = steps.index(self._step) + 1 if self._step else 0
        return next((step for step in (*steps[passed:], *steps[:passed]) if line.tool in step.tool_ids), None)

    async def _record_turn(self, profile_id: UUID, number: int, line: TurnLine) -> None:
        by_customer = line.speaker == "customer"
        turn = TurnRecord(
            turn_id=self._ids("turn", self._session_id, number),
            tenant_id=self._tenant_id,
            agent_id=self._agent_id,
            session_id=self._session_id,
            customer_profile_id=profile_id,
            turn_number=number,
            user_message=line.text if by_customer else "",
            agent_response="" if by_customer else line.text,
            scenario_id=self._scenario.id if self._scenario else None,
            step_id=self._step.id if self._step else None,
            tool_calls=[_tool_call(line.tool, line)] if line.tool else [],
            template_ids_used=self._step.template_ids if self._step and line.speaker == "agent" else [],
            latency_ms=0,
            tokens_used=0,
            metadata={"speaker": line.speaker},
            timestamp=self._moment(number),
        )
        await self._stores.audit.save_turn(turn)
        self._turns.append(turn)

    async def _remember(self, profile_id: UUID, number: int, line: TurnLine, embedding: list[float]) -> None:
        episode = Episode(
            id=self._ids("episode", self._session_id, number),
            tenant_id=self._tenant_id,
            agent_id=self._agent_id,
            customer_profile_id=profile_id,
            session_id=self._session_id,
            group_id=self._session_id,
            content=line.text,
            content_type="event" if line.speaker == "action" else "message",
            source=_SOURCES[line.speaker],
            embedding=embedding,
            embedding_model=self._embedder.model,
            occurred_at=self._moment(number),
            recorded_at=self._moment(number),
        )
        await self._stores.memory.add_episode(episode)
        self._episodes.append(episode)

    async def _learn_from(self, profile_id: UUID, number: int, line: TurnLine) -> None:
        """Write what a line reveals of the customer: from the customer what the text has, from a tool everything."""
        if line.tool:
            await self._learn(profile_id, number, self._record.customer, ProfileFieldSource.TOOL_RESULT)
        elif line.speaker == "customer":
            text = line.text.casefold()
            said = {name: value for name, value in self._record.customer.items() if value.casefold() in text}
            await self._learn(profile_id, number, said, ProfileFieldSource.USER_PROVIDED)

    async def _learn(self, profile_id: UUID, number: int, found: dict[str, str], source: ProfileFieldSource) -> None:
        """Write the fields that the profile lacks or has with another value."""
        for name, value in found.items():
            if self._known.get(name) == value:
                continue
            item = ProfileField(
                id=self._ids("field", self._session_id, name),
                name=name,
                value=value,
                value_type="string",
                source=source,
                source_session_id=self._session_id,
                source_scenario_id=self._scenario.id if self._scenario else None,
                source_step_id=self._step.id if self._step else None,
                source_metadata={"turn": number},
                collected_at=self._moment(number),
                updated_at=self._moment(number),
            )
            await self._stores.profiles.update_field(self._tenant_id, profile_id, item)
            self._known[name] = value
            self._fields.append(item)

    async def _save_session(self, session: Session, number: int, entered: ScenarioStep | None) -> None:
        session.turn_count = number
        if entered is None or self._scenario is None:
            await self._stores.sessions.save(session)
            return
        hashed = content_hash(entered)
        visit = StepVisit(
            step_id=entered.id,
            step_name=entered.name,
            entered_at=self._moment(number),
            turn_number=number,
            step_content_hash=hashed,
        )
        session.active_step_id = entered.id
        session.step_history = [*session.step_history, visit]
        await self._stores.sessions.save(session)
        found = await self._stores.sessions.find_sessions_by_step_hash(
            self._tenant_id, self._scenario.id, self._scenario.version, hashed
        )
        ids = [item.session_id for item in found]
        self._report.check("sessions: a session is found by its current step", session.session_id in ids, self._where)

    async def _end(self, profile_id: UUID, number: int) -> Session:
        session = await self._session()
        if session.status is not SessionStatus.CLOSED:
            await self._learn(profile_id, number, self._record.customer, ProfileFieldSource.HUMAN_ENTERED)
            session.status = SessionStatus.CLOSED
            await self._stores.sessions.save(session)
        await self._event("session_closed", number + 1, {"turns": number})
        await self._stores.sessions.demote_to_persistent(self._session_id, tenant_id=self._tenant_id)
        return session

    async def _session(self) -> Session:
        session = await self._stores.sessions.get(self._session_id, tenant_id=self._tenant_id)
        if session is None:
            raise NotFoundError(f"session: it was deleted during the replay of {self._where}")
        return session

    async def _event(self, event_type: str, number: int, data: dict[str, JsonValue]) -> None:
        event = AuditEvent(
            id=self._ids("event", self._session_id, event_type, number),
            tenant_id=self._tenant_id,
            event_type=event_type,
            event_data=data,
            session_id=self._session_id,
            timestamp=self._moment(number),
        )
        await self._stores.audit.save_event(event)
        self._events.append(event)

    def _moment(self, number: int) -> datetime:
        return self._record.started_at + number * _PACE


def _tool_call(tool: str, line: TurnLine) -> ToolCall:
    values: list[JsonValue] = [*line.values]
    return ToolCall(
        tool_id=tool, tool_name=tool, input={"values": values}, output=line.text, success=True, latency_ms=0
    )
