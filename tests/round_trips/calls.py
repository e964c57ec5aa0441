"""Every method of each contract, called in the cases that differ in cost, on data of a new tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.errors import ConflictError
from convostore.models import Channel, Consent, SessionStatus, VerificationLevel
from convostore.models.base import Model
from convostore.models.fields import now
from convostore.testing import factories
from convostore.testing.config.rows import CONFIG_ROWS, ConfigRows
from tests.round_trips.metering import unmetered, when

LONG_AGO = datetime(1980, 1, 1, tzinfo=UTC)
VECTOR = [1.0, 2.0, 3.0]

new_tenant = uuid4
"""Makes the tenants of calls."""


async def sessions(store: SessionStore) -> None:
    """Call a session store."""
    session = factories.full_session(new_tenant())
    session.status, session.step_history = SessionStatus.ACTIVE, [factories.make_visit(step_content_hash="here")]
    tenant, session_id, owner = session.tenant_id, session.session_id, uuid4()
    assert session.active_scenario_id is not None
    assert session.customer_profile_id is not None

    await when(store, "first of a tenant").save(factories.make_session(tenant))
    await when(store, "new").save(session)
    await store.save(session)
    session.user_channel_id = "another"
    await when(store, "another channel identity").save(session)
    await when(store, "overwrite").save(session, overwrite=True)

    await when(store, "hot").get(session_id)
    await when(store, "hot, tenant given").get(session_id, tenant_id=tenant)
    await when(store, "of another tenant").get(session_id, tenant_id=uuid4())
    await when(store, "unknown id").get(uuid4())
    with pytest.raises(ConflictError):
        await when(store, "stale revision").save(stale(session))
    await store.get_by_channel(tenant, session.channel, session.user_channel_id)
    await when(store, "unknown identity").get_by_channel(tenant, Channel.SMS, "nobody")
    await when(store, "of one agent").get_by_channel(
        tenant, session.channel, session.user_channel_id, agent_id=session.agent_id
    )
    identity = session.agent_id, session.channel, session.user_channel_id
    await store.get_or_create(tenant, *identity)
    await when(store, "new").get_or_create(tenant, session.agent_id, Channel.SMS, "new")
    await when(store, "new with this agent").get_or_create(tenant, uuid4(), *identity[1:])
    await store.list_by_agent(tenant, session.agent_id)
    await when(store, "of one status").list_by_agent(tenant, session.agent_id, status=session.status)
    await when(store, "after a cursor").list_by_agent(tenant, session.agent_id, after=session)
    await consumed(store.iter_by_agent(tenant, session.agent_id))
    await store.list_by_customer(tenant, session.customer_profile_id)
    await consumed(store.iter_by_customer(tenant, session.customer_profile_id))
    await store.find_sessions_by_step_hash(tenant, session.active_scenario_id, 3, "here")
    await consumed(store.iter_sessions_by_step_hash(tenant, session.active_scenario_id, 3, "here"))

    fence = await store.acquire_lock(session_id, owner)
    await when(store, "under a lock").save(session, fence=fence)
    await when(store, "held by another").acquire_lock(session_id, uuid4())
    await store.release_lock(session_id, owner)
    async with store.lock(session_id):
        pass

    await when(store, "hot").promote_to_hot(session_id)
    await when(store, "hot").demote_to_persistent(session_id)
    await when(store, "demoted").demote_to_persistent(session_id)
    await when(store, "demoted").get(session_id)
    await unmetered(store).demote_to_persistent(session_id)
    await when(store, "demoted").promote_to_hot(session_id)
    await when(store, "nothing to do").sweep()
    await when(store, "of another tenant").delete(session_id, tenant_id=uuid4())
    await when(store, "tenant given").delete(session_id, tenant_id=tenant)
    await unmetered(store).save(stale(session), overwrite=True)
    await store.delete(session_id)
    await when(store, "unknown id").delete(session_id)
    await store.health_check()


async def config(store: ConfigStore) -> None:
    """Call a configuration store."""
    for rows in CONFIG_ROWS:
        await config_rows(store, rows)
    owner = factories.make_agent(new_tenant())
    await unmetered(store).save_agent(owner)
    tenant, agent = owner.tenant_id, owner.id
    scenario = factories.make_scenario(tenant, agent)
    await store.archive_scenario_version(tenant, scenario)
    await store.get_archived_scenario(tenant, scenario.id, scenario.version)
    await store.get_variable_by_name(tenant, agent, "name")
    await store.get_migration_plan_for_versions(tenant, uuid4(), 1, 2)
    await store.vector_search_rules(VECTOR, tenant, agent)
    await store.search_rules("tea", VECTOR, tenant, agent)
    await store.get_agent_config(tenant, agent)
    await unmetered(store).delete_agent(tenant, agent)
    await store.purge_deleted(tenant, before=now())
    await store.health_check()


async def config_rows(store: ConfigStore, rows: ConfigRows) -> None:
    """Call the methods that a configuration store has for the rows of one declaration."""
    tenant, agent = new_tenant(), uuid4()
    item, others = rows.make(tenant, agent), [rows.make(tenant, agent, **named(rows, number)) for number in range(3)]
    await rows.save(when(store, "new"), item)
    await rows.save(store, item)
    await rows.save(when(store, "overwrite"), item, overwrite=True)
    with pytest.raises(ConflictError):
        await rows.save(when(store, "stale revision"), stale(item))
    await rows.save_all(when(store, "new"), others)
    await rows.save_all(store, others)
    await rows.get(store, item)
    await rows.list(store, tenant, agent)
    await consumed(rows.stream(store, tenant, agent))
    await rows.delete(store, item)
    await rows.restore(store, item)


def named(rows: ConfigRows, number: int) -> dict[str, Any]:
    """Return a name for those of which two must not have the same."""
    return {"name": f"agent {number}"} if rows.declaration.name == "agent" else {}


async def memory(store: MemoryStore) -> None:
    """Call a memory store."""
    tenant, agent = new_tenant(), uuid4()
    episode = factories.make_episode(tenant, agent, embedding=VECTOR, embedding_model="old")
    source, target = factories.make_entity(tenant, agent), factories.make_entity(tenant, agent)
    edge = factories.make_relationship(source, target)

    await store.add_episode(episode)
    await when(store, "stored already").add_episode(episode)
    await store.add_entity(source)
    await when(store, "stored already").add_entity(source)
    await store.add_episodes([factories.make_episode(tenant, agent) for _ in range(2)])
    await store.add_entities([target, factories.make_entity(tenant, agent)])
    await store.add_relationship(edge)
    await store.add_relationships([factories.make_relationship(source, target) for _ in range(2)])
    await store.save_entity(source)
    await store.save_relationship(edge)

    await store.get_episode(tenant, episode.id)
    await store.get_entity(tenant, source.id)
    await store.get_relationship(tenant, edge.id)
    await store.get_episodes(tenant, agent)
    await store.get_entities(tenant, agent)
    await store.get_relationships(tenant, agent)
    await consumed(store.iter_episodes(tenant, agent))
    await consumed(store.iter_entities(tenant, agent))
    await consumed(store.iter_relationships(tenant, agent))

    await store.vector_search_episodes(VECTOR, tenant, agent)
    await store.text_search_episodes("tea", tenant, agent)
    await store.search_episodes("tea", VECTOR, tenant, agent)
    await when(store, "with neighbours").search_episodes("tea", VECTOR, tenant, agent, context=2)
    await when(store, "diverse").search_episodes("tea", VECTOR, tenant, agent, diversity=0.5)
    await when(store, "reranked").search_episodes("tea", VECTOR, tenant, agent, rerank=undecided)
    await store.explain_episodes("tea", VECTOR, tenant, agent, context=2, diversity=0.5, rerank=undecided)
    await store.find_entities(tenant, agent, name="Ann")
    await when(store, "by meaning").find_entities(tenant, agent, query_embedding=VECTOR)
    await store.traverse_from_entities(tenant, [source.id], max_depth=3)
    await store.neighbourhood(tenant, [source.id], max_depth=3)

    await store.get_episodes_to_embed(tenant, "new")
    await store.add_embeddings(tenant, "new", {episode.id: VECTOR})
    await store.switch_embeddings(tenant, "new")

    await store.invalidate_relationship(tenant, edge.id)
    await store.delete_relationship(tenant, edge.id)
    await store.delete_episode(tenant, episode.id)
    await store.delete_entity(tenant, target.id)
    await store.delete_by_group(tenant, source.group_id)
    await store.delete_by_customer(tenant, uuid4())
    await store.health_check()


async def audit(store: AuditStore, operator: AuditStore) -> None:
    """Call an audit store, and as an operator what only an operator may."""
    tenant = new_tenant()
    turn, event = factories.make_turn(tenant), factories.make_event(tenant)
    await store.prepare_months()
    await store.save_turn(turn)
    await when(store, "stored already").save_turn(turn)
    await store.save_event(event)
    await when(store, "stored already").save_event(event)
    await store.save_turns([factories.make_turn(tenant) for _ in range(2)])
    await store.save_events([factories.make_event(tenant) for _ in range(2)])

    await store.get_turn(tenant, turn.turn_id)
    await store.get_event(tenant, event.id)
    await store.list_turns_by_session(tenant, turn.session_id)
    await store.list_turns_by_tenant(tenant)
    await store.list_turns_by_customer(tenant, uuid4())
    await store.list_events(tenant)
    await store.list_events_by_customer(tenant, uuid4())
    await store.list_records(tenant)
    await store.list_heads(tenant)
    await store.list_bodies(tenant)
    await consumed(store.iter_turns_by_session(tenant, turn.session_id))
    await consumed(store.iter_turns_by_tenant(tenant))
    await consumed(store.iter_turns_by_customer(tenant, uuid4()))
    await consumed(store.iter_events(tenant))
    await consumed(store.iter_events_by_customer(tenant, uuid4()))
    await consumed(store.iter_records(tenant))
    await consumed(store.iter_anchors(tenant))
    await consumed(store.export(tenant))
    await store.verify(tenant)
    await when(store, "one session").verify(tenant, turn.session_id)
    await operator.drop_bodies(before=LONG_AGO)
    await store.health_check()


async def profiles(store: ProfileStore) -> None:
    """Call a profile store."""
    tenant = new_tenant()
    profile, other = factories.full_profile(tenant), factories.full_profile(tenant)
    identity, asset, profile_id = profile.channel_identities[0], factories.make_asset(), profile.id
    await when(store, "new").save_profile(profile)
    await store.save_profile(profile)
    with pytest.raises(ConflictError):
        await when(store, "stale revision").save_profile(stale(profile))

    await store.get_profile(tenant, profile_id)
    await store.get_by_customer_id(tenant, profile.customer_id)
    await store.get_by_channel_identity(tenant, identity.channel, identity.channel_user_id)
    await store.get_or_create(tenant, identity.channel, identity.channel_user_id)
    await when(store, "new").get_or_create(tenant, Channel.EMAIL, "new@example.com")
    await store.list_profiles(tenant)
    await consumed(store.iter_profiles(tenant))
    await store.find_profiles_by_field(tenant, "city", "Bonn")

    await store.update_field(tenant, profile_id, (field := factories.make_field(value="Berlin")))
    await when(store, "of a stored id").update_field(tenant, profile_id, field.model_copy(update={"value": "Rome"}))
    await store.add_asset(tenant, profile_id, asset)
    await store.link_channel(tenant, profile_id, Channel.EMAIL, "linked@example.com")
    await store.save_consent(tenant, profile_id, Consent(consent_type="calls", granted=True))
    await store.set_verification_level(tenant, profile_id, VerificationLevel.KYC_COMPLETE)
    await store.get_field_history(tenant, profile_id, "city")
    await store.get_asset_history(tenant, profile_id, asset.name)
    await store.trace_item(tenant, profile_id, asset.id)
    await when(store, "nothing to do").expire_stale_fields(tenant, at=LONG_AGO)
    await store.expire_stale_fields(tenant, at=now())

    await unmetered(store).save_profile(other)
    await store.merge_profiles(tenant, other.id, profile_id)
    await when(store, "of a merged id").get_profile(tenant, other.id)
    await store.unmerge_profiles(tenant, profile_id)
    await store.delete_profile(tenant, profile_id)
    await store.restore_profile(tenant, profile_id)
    await unmetered(store).delete_profile(tenant, profile_id)
    await store.purge_deleted(tenant, before=now())
    await store.health_check()


async def undecided(_: str, episodes: list[Any]) -> list[float]:
    """Rerank nothing."""
    return [0.0] * len(episodes)


def stale(item: Any) -> Any:
    """Return a copy with a revision that is not the stored one."""
    assert isinstance(item, Model)
    return item.model_copy(update={"revision": 99})


async def consumed(items: AsyncIterator[object]) -> None:
    """Read a stream to its end."""
    async for _ in items:
        pass
