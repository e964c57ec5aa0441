"""Types of turns: what is loaded, what a unit takes."""

from __future__ import annotations

from typing import assert_type
from uuid import UUID

from convostore import Stores, Turn, UnitOfWork
from convostore.models import (
    AgentConfig,
    AuditEvent,
    Channel,
    CustomerProfile,
    Entity,
    Episode,
    ProfileAsset,
    ProfileField,
    Relationship,
    Rule,
    Session,
    TurnRecord,
)


async def loading(stores: Stores, tenant: UUID) -> None:
    turn = await stores.load_turn(tenant, session_id=tenant, query="tea", query_embedding=[1.0], timeout=1.0)
    assert_type(turn, Turn)
    assert_type(turn.session, Session)
    assert_type(turn.created, bool)
    assert_type(turn.profile, CustomerProfile | None)
    assert_type(turn.config, AgentConfig)
    assert_type(turn.rules, list[tuple[Rule, float]])
    assert_type(turn.episodes, list[tuple[Episode, float]])
    await stores.load_turn(tenant, agent_id=tenant, channel=Channel.SMS, user_channel_id="1", rules=0, episodes=0)
    await stores.load_turn(tenant, session_id="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def committing(
    stores: Stores,
    session: Session,
    episode: Episode,
    entity: Entity,
    edge: Relationship,
    field: ProfileField,
    asset: ProfileAsset,
    turn: TurnRecord,
    event: AuditEvent,
) -> None:
    async with stores.unit_of_work(session.tenant_id, timeout=5) as work:
        assert_type(work, UnitOfWork)
        assert_type(work.save_session(session, fence=1, overwrite=True), None)
        work.add_episodes([episode])
        work.add_entities([entity])
        work.add_relationships([edge])
        work.update_field(session.session_id, field)
        work.add_asset(session.session_id, asset)
        work.save_turn(turn)
        work.save_event(event)
        work.save_turn(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
