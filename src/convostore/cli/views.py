"""What `convostore inspect` shows of tenants, agents, sessions, turns and memory."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias
from uuid import UUID

from convostore.cli.cursors import AGENTS, SESSIONS, TURNS
from convostore.cli.embedders import loaded_embedder
from convostore.cli.looking import Looking
from convostore.cli.output import Row, show
from convostore.errors import NotFoundError, ValidationError
from convostore.models import Session, SessionStatus
from convostore.operations.marking import marked
from convostore.operations.reembedding import embed
from convostore.operations.standing import Standing, standings

Opened: TypeAlias = AbstractAsyncContextManager[Looking]

_AT_ONCE = 50
"""Tenants that are asked about at once: each call waits for a connection within its deadline."""


async def show_tenants(opened: Opened, limit: int, after: UUID | None, *, as_json: bool) -> bool:
    """Show which tenants there are."""
    async with opened as look:
        found = await look.overview.tenants(after=after, limit=limit)
        rows: list[Row] = []
        for first in range(0, len(found), _AT_ONCE):
            rows += await asyncio.gather(*(_tenant_row(look, tenant) for tenant in found[first : first + _AT_ONCE]))
    show({"tenants": rows, "after": str(found[-1]) if len(found) == limit else None}, as_json=as_json)
    return True


async def show_agents(opened: Opened, tenant: UUID, limit: int, after: str | None, *, as_json: bool) -> bool:
    """Show a tenant's agents."""
    async with opened as look:
        page, _ = await look.stores.config.get_agents(tenant, limit=limit, after=AGENTS.item(after, tenant))
    names = ("id", "name", "enabled", "current_version", "revision", "updated_at")
    show({"agents": [_fields(agent, names) for agent in page], "after": AGENTS.behind(page, limit)}, as_json=as_json)
    return True


async def show_sessions(
    opened: Opened,
    tenant: UUID,
    agent: UUID | None,
    customer: UUID | None,
    status: SessionStatus | None,
    limit: int,
    after: str | None,
    *,
    as_json: bool,
) -> bool:
    """Show sessions of an agent or a customer, and where they stand."""
    if (agent is None) == (customer is None) or (customer and status):
        raise ValidationError("sessions: take --agent, with or without --status, or --customer")
    behind = SESSIONS.item(after, tenant)
    async with opened as look:
        sessions = look.stores.sessions
        if agent:
            page = await sessions.list_by_agent(tenant, agent, status=status, limit=limit, after=behind)
        else:
            page = await sessions.list_by_customer(tenant, customer or tenant, limit=limit, after=behind)
        standing = await standings(look.overview, look.hot, tenant, page)
        if page:
            await look.note("sessions", tenant, about=agent or customer or tenant, customer=customer)
        rows = [_session_row(look, *each) for each in zip(page, standing, strict=True)]
    show({"sessions": rows, "after": SESSIONS.behind(page, limit)}, as_json=as_json)
    return True


async def show_session(opened: Opened, tenant: UUID, session_id: UUID, *, as_json: bool) -> bool:
    """Show one session."""
    async with opened as look:
        session = await look.stores.sessions.get(session_id, tenant_id=tenant)
        if session is None:
            raise NotFoundError("The tenant has no such session.")
        (standing,) = await standings(look.overview, look.hot, tenant, [session])
        await look.note("session", tenant, about=session_id, customer=session.customer_profile_id)
        facts = {
            **_session_row(look, session, standing),
            "fence": standing.lock and standing.lock.fence,
            "locked_until": standing.lock and standing.lock.until,
            **_fields(session, ("agent_id", "customer_profile_id", "config_version", "active_scenario_id")),
            **_fields(session, ("active_scenario_version", "active_step_id", "relocalization_count", "created_at")),
        }
        visits = [
            _fields(visit, ("step_name", "step_id", "turn_number", "entered_at", "confidence", "is_checkpoint"))
            for visit in session.step_history
        ]
        variables = [
            {"name": name, "value": look.content(value), "updated_at": session.variable_updated_at.get(name)}
            for name, value in sorted(session.variables.items())
        ]
    show({"session": facts, "steps": visits, "variables": variables}, as_json=as_json)
    return True


async def show_turns(
    opened: Opened, tenant: UUID, session_id: UUID, limit: int, after: str | None, *, as_json: bool
) -> bool:
    """Show a session's turns with their marks; return whether its chain is as it was recorded."""
    async with opened as look:
        page = await look.stores.audit.list_turns_by_session(
            tenant, session_id, limit=limit, after=TURNS.item(after, tenant)
        )
        marks = await marked(look.stores.audit, tenant, session_id)
        if page:
            await look.note("turns", tenant, about=session_id, customer=page[0].customer_profile_id)
        rows = [
            {
                "number": turn.turn_number,
                "mark": marks.of(turn.turn_id),
                "at": turn.timestamp,
                "user": look.content(turn.user_message),
                "agent": look.content(turn.agent_response),
                "rules": len(turn.matched_rule_ids),
                "tools": len(turn.tool_calls),
                "tokens": turn.tokens_used,
                "ms": turn.latency_ms,
                "turn_id": turn.turn_id,
            }
            for turn in page
        ]
    result = marks.result
    reason = result.problem and result.problem.reason
    chain = {"chain": reason or "intact", "records": result.records}
    show({"turns": rows, "verification": chain, "after": TURNS.behind(page, limit)}, as_json=as_json)
    return reason in (None, "unknown")


async def show_memory(
    opened: Opened,
    tenant: UUID,
    agent: UUID,
    query: str,
    customer: UUID | None,
    embedder: str | None,
    model: str | None,
    limit: int,
    *,
    as_json: bool,
) -> bool:
    """Show what a search finds, and how each score came about."""
    # Without an embedder words alone weigh, and the vector is of a space of one dimension, which no model has.
    vector, weights = ([1.0], (1.0, 0.0)) if embedder is None else (await _embedded(embedder, query), (0.5, 0.5))
    async with opened as look:
        hits = await look.stores.memory.explain_episodes(
            query,
            vector,
            tenant,
            agent,
            customer_profile_id=customer,
            embedding_model=model,
            weights=weights,
            limit=limit,
        )
        if hits:
            await look.note("memory", tenant, about=agent, customer=customer)
        names = ("rank", "score", "text_part", "vector_part", "recency", "text_score", "vector_score")
        rows = [
            {
                **_fields(hit, names),
                "content": look.content(hit.episode.content),
                **_fields(hit.episode, ("content_type", "source", "occurred_at", "id")),
            }
            for hit in hits
        ]
    show({"episodes": rows}, as_json=as_json)
    return True


async def _tenant_row(look: Looking, tenant: UUID) -> Row:
    _, agents = await look.stores.config.get_agents(tenant, limit=1)
    turns = await look.stores.audit.list_turns_by_tenant(tenant, limit=1)
    return {"tenant": tenant, "agents": agents, "latest_turn": turns[0].timestamp if turns else None}


async def _embedded(embedder: str, query: str) -> list[float]:
    (vector,) = await embed(loaded_embedder(embedder), [query])
    return vector


def _session_row(look: Looking, session: Session, standing: Standing) -> Row:
    last = session.step_history[-1] if session.step_history else None
    return {
        "session_id": session.session_id,
        "status": session.status,
        "tier": standing.tier,
        "locked": standing.lock is not None,
        "revision": session.revision,
        "turns": session.turn_count,
        "step": last and (last.step_name or last.step_id),
        "channel": session.channel,
        "user": look.content(session.user_channel_id),
        "last_activity_at": session.last_activity_at,
    }


def _fields(item: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}
