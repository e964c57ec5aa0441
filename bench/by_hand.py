"""A turn as one would write it by hand on asyncpg and redis-py: a statement per step, JSON in tables, the same models.

No row-level security, revisions, write ids, chains, fences or deadlines. A session is a row and a copy in Redis.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from bench.conversations import FOUND, Conversation
from convostore import Stores
from convostore.models import (
    AgentConfig,
    AuditEvent,
    Channel,
    CustomerProfile,
    Episode,
    ProfileField,
    Rule,
    Session,
    TurnRecord,
)
from convostore.models.fields import now

_TABLES = """
CREATE SCHEMA IF NOT EXISTS by_hand;
CREATE TABLE IF NOT EXISTS by_hand.session (
    tenant_id uuid, session_id uuid PRIMARY KEY, agent_id uuid, customer_profile_id uuid, channel text,
    user_channel_id text, status text, last_activity_at timestamptz, body jsonb
);
CREATE INDEX IF NOT EXISTS session_channel ON by_hand.session (tenant_id, channel, user_channel_id, last_activity_at);
CREATE INDEX IF NOT EXISTS session_agent ON by_hand.session (tenant_id, agent_id, last_activity_at);
CREATE TABLE IF NOT EXISTS by_hand.profile (tenant_id uuid, id uuid, body jsonb, PRIMARY KEY (tenant_id, id));
CREATE TABLE IF NOT EXISTS by_hand.identity (
    tenant_id uuid, channel text, channel_user_id text, profile_id uuid,
    PRIMARY KEY (tenant_id, channel, channel_user_id)
);
CREATE TABLE IF NOT EXISTS by_hand.field (
    tenant_id uuid, id uuid, profile_id uuid, name text, status text, body jsonb, PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS field_profile ON by_hand.field (tenant_id, profile_id) WHERE status = 'active';
CREATE TABLE IF NOT EXISTS by_hand.rule (
    tenant_id uuid, id uuid, agent_id uuid, enabled boolean, priority bigint, name text, embedding vector, body jsonb,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS rule_agent ON by_hand.rule (tenant_id, agent_id);
CREATE TABLE IF NOT EXISTS by_hand.part (
    tenant_id uuid, agent_id uuid, kind text, position bigint, body jsonb,
    PRIMARY KEY (tenant_id, agent_id, kind, position)
);
CREATE TABLE IF NOT EXISTS by_hand.episode (
    tenant_id uuid, id uuid, agent_id uuid, customer_profile_id uuid, embedding vector, body jsonb,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS episode_customer ON by_hand.episode (tenant_id, agent_id, customer_profile_id);
CREATE TABLE IF NOT EXISTS by_hand.turn (
    tenant_id uuid, id uuid, session_id uuid, turn_number bigint, "timestamp" timestamptz, body jsonb,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, session_id, turn_number)
);
CREATE INDEX IF NOT EXISTS turn_timestamp ON by_hand.turn (tenant_id, "timestamp");
CREATE TABLE IF NOT EXISTS by_hand.event (
    tenant_id uuid, id uuid, session_id uuid, "timestamp" timestamptz, body jsonb, PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS event_timestamp ON by_hand.event (tenant_id, "timestamp");
"""

_SESSION_BY_ID = "SELECT body::text FROM by_hand.session WHERE session_id = $1 AND tenant_id = $2"
_SESSION_BY_CHANNEL = """
SELECT body::text FROM by_hand.session
WHERE tenant_id = $1 AND channel = $2 AND user_channel_id = $3 AND agent_id = $4
ORDER BY status = 'closed', last_activity_at DESC LIMIT 1
"""
_PROFILE = """
SELECT (p.body || jsonb_build_object('fields', (
    SELECT coalesce(jsonb_object_agg(f.name, f.body), '{}') FROM by_hand.field AS f
    WHERE f.tenant_id = p.tenant_id AND f.profile_id = p.id AND f.status = 'active')))::text
FROM by_hand.identity AS i JOIN by_hand.profile AS p ON p.tenant_id = i.tenant_id AND p.id = i.profile_id
WHERE i.tenant_id = $1 AND i.channel = $2 AND i.channel_user_id = $3
"""
_CONFIG = """
(SELECT kind, body::text, NULL::vector AS embedding FROM by_hand.part
 WHERE tenant_id = $1 AND agent_id = $2 ORDER BY kind, position)
UNION ALL
(SELECT 'rules', body::text, embedding FROM by_hand.rule
 WHERE tenant_id = $1 AND agent_id = $2 AND enabled ORDER BY priority DESC, name, id)
"""
_RULES = f"""
SELECT body::text, embedding, 1 - (embedding <=> $3) AS score FROM by_hand.rule
WHERE tenant_id = $1 AND agent_id = $2 AND enabled ORDER BY embedding <=> $3, id LIMIT {FOUND}
"""
_EPISODES = f"""
SELECT body::text, embedding, 1 - (embedding <=> $4) AS score FROM by_hand.episode
WHERE tenant_id = $1 AND agent_id = $2 AND customer_profile_id = $3 ORDER BY embedding <=> $4, id LIMIT {FOUND}
"""
_ADD = """
INSERT INTO by_hand.episode (tenant_id, id, agent_id, customer_profile_id, embedding, body)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb), ($7, $8, $9, $10, $11, $12::text::jsonb)
"""
_FIELD = """
WITH superseded AS (
    UPDATE by_hand.field SET status = 'superseded', body = body || jsonb_build_object(
        'status', 'superseded', 'superseded_by_id', $2::uuid, 'superseded_at', now())
    WHERE tenant_id = $1 AND profile_id = $3 AND name = $4 AND status = 'active' AND id <> $2
)
INSERT INTO by_hand.field (tenant_id, id, profile_id, name, status, body)
VALUES ($1, $2, $3, $4, 'active', $5::text::jsonb)
ON CONFLICT (tenant_id, id) DO UPDATE SET body = excluded.body
"""
_TURN = """
INSERT INTO by_hand.turn (tenant_id, id, session_id, turn_number, "timestamp", body)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)
"""
_EVENT = """
INSERT INTO by_hand.event (tenant_id, id, session_id, "timestamp", body) VALUES ($1, $2, $3, $4, $5::text::jsonb)
"""
_SAVE = """
INSERT INTO by_hand.session (tenant_id, session_id, agent_id, customer_profile_id, channel, user_channel_id, status,
    last_activity_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)
ON CONFLICT (session_id) DO UPDATE SET customer_profile_id = excluded.customer_profile_id, status = excluded.status,
    last_activity_at = excluded.last_activity_at, body = excluded.body
"""
_HOT = 1_800
"""Seconds after which a copy expires, as the stores' do."""


class ByHand:
    """The turn by hand.

    Args:
        pool: has codecs for `vector` and `jsonb`.
        client: of redis-py.
    """

    def __init__(self, pool: Any, client: Any) -> None:
        self._pool = pool
        self._client = client

    async def session(self, conversation: Conversation, *, by_channel: bool) -> Session:
        c = conversation
        if by_channel:
            channel = (Channel.WEBCHAT, c.user_channel_id, c.agent_id)
            return Session.model_validate_json(await self._pool.fetchval(_SESSION_BY_CHANNEL, c.tenant_id, *channel))
        document = await self._client.get(f"by_hand:{c.session_id}")
        if document is None:
            document = await self._pool.fetchval(_SESSION_BY_ID, c.session_id, c.tenant_id)
        return Session.model_validate_json(document)

    async def profile(self, conversation: Conversation) -> CustomerProfile:
        c = conversation
        document = await self._pool.fetchval(_PROFILE, c.tenant_id, Channel.WEBCHAT, c.user_channel_id)
        return CustomerProfile.model_validate_json(document)

    async def config(self, conversation: Conversation) -> AgentConfig:
        parts: dict[str, list[Any]] = {name: [] for name in AgentConfig.model_fields}
        for kind, body, embedding in await self._pool.fetch(_CONFIG, conversation.tenant_id, conversation.agent_id):
            values = from_json(body)
            if embedding is not None:
                values["embedding"] = embedding
            parts[kind].append(values)
        # The parts are validated once, with the whole.
        return AgentConfig.model_validate(parts | {"agent": parts["agent"][0]})

    async def rules(self, conversation: Conversation) -> list[tuple[Rule, float]]:
        c = conversation
        return _scored(Rule, await self._pool.fetch(_RULES, c.tenant_id, c.agent_id, c.query))

    async def episodes(self, conversation: Conversation) -> list[tuple[Episode, float]]:
        c = conversation
        return _scored(Episode, await self._pool.fetch(_EPISODES, c.tenant_id, c.agent_id, c.profile_id, c.query))

    async def add_episodes(self, episodes: list[Episode]) -> object:
        one, other = episodes
        return await self._pool.execute(_ADD, *_episode(one), *_episode(other))

    async def update_field(self, conversation: Conversation, field: ProfileField) -> object:
        c = conversation
        return await self._pool.execute(
            _FIELD, c.tenant_id, field.id, c.profile_id, field.name, field.model_dump_json()
        )

    async def save_turn(self, record: TurnRecord) -> object:
        key = (record.tenant_id, record.turn_id, record.session_id, record.turn_number, record.timestamp)
        return await self._pool.execute(_TURN, *key, record.model_dump_json())

    async def save_event(self, event: AuditEvent) -> object:
        key = (event.tenant_id, event.id, event.session_id, event.timestamp)
        return await self._pool.execute(_EVENT, *key, event.model_dump_json())

    async def save_session(self, session: Session) -> object:
        session.last_activity_at = now()
        document = session.model_dump_json()
        await self._pool.execute(
            _SAVE,
            session.tenant_id,
            session.session_id,
            session.agent_id,
            session.customer_profile_id,
            session.channel,
            session.user_channel_id,
            session.status,
            session.last_activity_at,
            document,
        )
        return await self._client.set(f"by_hand:{session.session_id}", document, ex=_HOT)


def _scored(model: Any, rows: list[Any]) -> list[tuple[Any, float]]:
    return [
        (model.model_validate(from_json(body) | {"embedding": embedding}), score) for body, embedding, score in rows
    ]


def _episode(episode: Episode) -> tuple[Any, ...]:
    key = (episode.tenant_id, episode.id, episode.agent_id, episode.customer_profile_id)
    return *key, episode.embedding, episode.model_dump_json(exclude={"embedding"})


async def copied(stores: Stores, pool: Any, client: Any, conversations: list[Conversation]) -> ByHand:
    """Copy what the stores have of conversations into the tables by hand."""
    await pool.execute(_TABLES)
    by_hand = ByHand(pool, client)
    for tenant, agent in {(c.tenant_id, c.agent_id) for c in conversations}:
        config = await stores.config.get_agent_config(tenant, agent)
        assert config is not None
        await pool.executemany(
            "INSERT INTO by_hand.rule VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)",
            [
                (
                    tenant,
                    r.id,
                    agent,
                    r.enabled,
                    r.priority,
                    r.name,
                    r.embedding,
                    r.model_dump_json(exclude={"embedding"}),
                )
                for r in config.rules
            ],
        )
        kinds: dict[str, list[Any]] = {**config.__dict__, "agent": [config.agent], "rules": []}
        await pool.executemany(
            "INSERT INTO by_hand.part VALUES ($1, $2, $3, $4, $5::text::jsonb)",
            [
                (tenant, agent, kind, position, part.model_dump_json())
                for kind, parts in kinds.items()
                for position, part in enumerate(parts)
            ],
        )
    for c in conversations:
        session = await stores.sessions.get(c.session_id)
        profile = await stores.profiles.get_profile(c.tenant_id, c.profile_id)
        assert session is not None
        assert profile is not None
        await by_hand.save_session(session)
        await pool.execute(
            "INSERT INTO by_hand.profile VALUES ($1, $2, $3::text::jsonb)",
            *(c.tenant_id, c.profile_id, profile.model_dump_json(exclude={"fields"})),
        )
        await pool.executemany(
            "INSERT INTO by_hand.identity VALUES ($1, $2, $3, $4)",
            [(c.tenant_id, i.channel, i.channel_user_id, c.profile_id) for i in profile.channel_identities],
        )
        for field in profile.fields.values():
            await by_hand.update_field(c, field)
        await pool.executemany(
            "INSERT INTO by_hand.episode VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)",
            [
                _episode(episode)
                for episode in await stores.memory.get_episodes(
                    c.tenant_id, c.agent_id, customer_profile_id=c.profile_id, limit=1_000
                )
            ],
        )
    await pool.execute("VACUUM ANALYZE")
    return by_hand
