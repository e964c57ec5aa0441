"""Profiles: reads on PostgreSQL against asyncpg."""

from __future__ import annotations

from operator import attrgetter
from uuid import UUID

from bench.data import columns, spread
from bench.engines import Engines
from bench.harness import Operation, Way
from convostore.models import Channel, CustomerProfile, ProfileField
from convostore.postgres import PostgresProfileStore
from convostore.testing.factories import make_asset, make_field, make_identity, make_profile

# By hand one would let PostgreSQL build the document that model_validate_json reads.
SELECT = """
SELECT json_build_object(
    'id', p.id, 'tenant_id', p.tenant_id, 'customer_id', p.customer_id, 'consents', p.consents,
    'verification_level', p.verification_level, 'merged_into', p.merged_into,
    'last_interaction_at', p.last_interaction_at, 'created_at', p.created_at, 'updated_at', p.updated_at,
    'deleted_at', p.deleted_at, 'revision', p.revision,
    'channel_identities', (
        SELECT coalesce(json_agg(to_jsonb(c) - '{tenant_id,profile_id,position,living}'::text[] ORDER BY position),
                        '[]')
        FROM convostore.channel_identity AS c WHERE c.tenant_id = p.tenant_id AND c.profile_id = p.id),
    'fields', (
        SELECT coalesce(json_object_agg(f.name, to_jsonb(f) - '{tenant_id,profile_id}'::text[]), '{}')
        FROM convostore.profile_field AS f
        WHERE f.tenant_id = p.tenant_id AND f.profile_id = p.id AND f.status = 'active'),
    'assets', (
        SELECT coalesce(json_agg(to_jsonb(a) - '{tenant_id,profile_id,position}'::text[] ORDER BY position, id), '[]')
        FROM convostore.profile_asset AS a
        WHERE a.tenant_id = p.tenant_id AND a.profile_id = p.id AND a.status <> 'superseded'))
FROM convostore.profile AS p
WHERE p.tenant_id = $1 AND p.id = $2 AND p.deleted_at IS NULL
"""

_FIELDS = tuple(ProfileField.model_fields)
VALUES = attrgetter(*_FIELDS)

# The old value stays as history here too.
UPDATE = f"""
WITH old AS (
    UPDATE convostore.profile_field SET status = 'superseded', superseded_by_id = $3, superseded_at = now()
    WHERE tenant_id = $1 AND profile_id = $2 AND name = $4 AND status = 'active'
    RETURNING id
), touched AS (
    UPDATE convostore.profile SET revision = revision + 1, updated_at = now() WHERE tenant_id = $1 AND id = $2
    RETURNING id
)
INSERT INTO convostore.profile_field (tenant_id, profile_id, {columns(ProfileField)})
SELECT $1, touched.id, {", ".join(f"${number}" for number in range(3, len(_FIELDS) + 3))}
FROM touched WHERE (SELECT count(*) FROM old) >= 0
"""


def _profile(tenant: UUID) -> CustomerProfile:
    names = ("first_name", "last_name", "city", "language", "tier", "birthday")
    return make_profile(
        tenant,
        channel_identities=[make_identity(primary=True), make_identity(channel=Channel.WHATSAPP)],
        fields={name: make_field(name, f"the {name}") for name in names},
        assets=[make_asset()],
    )


async def get_alone(engines: Engines) -> Operation:
    return await _get(engines, "profile get by id, alone", goal=1.0, concurrency=1)


async def get(engines: Engines) -> Operation:
    return await _get(engines, "profile get by id, 64 concurrent", goal=0.4, concurrency=64)


async def _get(engines: Engines, title: str, *, goal: float, concurrency: int) -> Operation:
    store, pool = PostgresProfileStore(engines.pool), engines.bare_pool
    profiles = spread(_profile)
    for item in (item for items in profiles.values() for item in items):
        await store.save_profile(item)
    await pool.execute("VACUUM ANALYZE convostore.profile, convostore.profile_field, convostore.profile_asset")
    ids = {tenants: [(item.tenant_id, item.id) for item in items] for tenants, items in profiles.items()}

    async def call(key: tuple[UUID, UUID]) -> CustomerProfile | None:
        return await store.get_profile(*key)

    async def bare(key: tuple[UUID, UUID]) -> CustomerProfile | None:
        document = await pool.fetchval(SELECT, *key)
        return CustomerProfile.model_validate_json(document) if document else None

    inputs = ids.__getitem__
    return Operation(
        title, goal, Way(call, inputs), Way(bare, inputs), concurrency, agree=lambda a, b: bool(a and a == b)
    )


async def update_field(engines: Engines) -> Operation:
    store, pool = PostgresProfileStore(engines.pool), engines.bare_pool
    profiles = spread(_profile)
    for item in (item for items in profiles.values() for item in items):
        await store.save_profile(item)

    def inputs(tenants: int) -> list[tuple[UUID, UUID, ProfileField]]:
        return [(item.tenant_id, item.id, make_field("city", f"city {n}")) for n, item in enumerate(profiles[tenants])]

    async def call(change: tuple[UUID, UUID, ProfileField]) -> None:
        await store.update_field(*change)

    async def bare(change: tuple[UUID, UUID, ProfileField]) -> None:
        tenant, profile, field = change
        await pool.execute(UPDATE, tenant, profile, *VALUES(field))

    ways = Way(call, inputs), Way(bare, inputs)
    return Operation("profile update field, alone", 1.5, *ways, concurrency=1, server_goal=1.5)


OPERATIONS = {"profile-update-field": update_field, "profile-get-alone": get_alone, "profile-get": get}
