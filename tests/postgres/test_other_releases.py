"""Fields and columns of a newer release are skipped at every depth, in rows, documents, merges and the audit trail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.domain.codec import canonical
from convostore.domain.declarations import (
    AGENT,
    DECLARATIONS,
    EVENT,
    SCENARIO_ARCHIVE,
    TURN,
)
from convostore.domain.verify_export import Verifier, check_export, read
from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
    migrate,
)
from convostore.testing import (
    AuditStoreContract,
    ConfigStoreContract,
    MemoryStoreContract,
    ProfileStoreContract,
    SessionStoreContract,
)
from convostore.testing.factories import (
    full_agent,
    full_profile,
    full_turn,
    make_event,
    make_profile,
)
from tests.postgres.conftest import TABLES, Pool
from tests.postgres.databases import NO_TENANT, connected, fresh_database
from tests.postgres.rewriting import rewrite, stores_on
from tests.stores.test_values_are_read_back_equal import WAYS, Way
from tests.unit.examples import EXAMPLES
from tests.unit.newer import NEWS, with_news

Store = Any


@pytest.fixture(scope="module")
async def newer(server: Embedded) -> AsyncIterator[str]:
    """The DSN of a database in which a newer release has given every table more columns."""
    async with fresh_database(server.postgres_dsn) as dsn:
        await migrate(dsn)
        async with connected(dsn) as admin:
            for (table,) in await admin.fetch(TABLES, NO_TENANT):
                await admin.execute(
                    f"ALTER TABLE convostore.{table} ADD COLUMN mood text DEFAULT 'calm', ADD COLUMN nickname text, "
                    "ADD COLUMN size integer NOT NULL DEFAULT 7"
                )
            await admin.execute("UPDATE convostore.alembic_version SET version_num = '9999'")
        yield dsn


@pytest.fixture(scope="module")
async def pool(newer: str) -> AsyncIterator[Pool]:
    async with await create_pool(newer) as opened:
        yield opened


@pytest.fixture(scope="module")
async def stores(pool: Pool) -> dict[str, Store]:
    return stores_on(pool)


@pytest.fixture
async def admin(newer: str) -> AsyncIterator[Any]:
    async with connected(newer) as connection:
        yield connection


def example(way: Way) -> Any:
    """Return a new item with every field filled."""
    new: dict[str, Any] = {"tenant_id": uuid4(), way.key: uuid4()}
    new |= {name: None for name in ("deleted_at", "merged_into") if name in way.model.model_fields}
    new |= {"revision": 0} if "revision" in way.model.model_fields else {}
    return EXAMPLES[way.model].model_copy(update=new, deep=True)


class TestFieldsOfANewerRelease:
    @pytest.mark.parametrize("way", [way for way in WAYS if way.store not in ("audit", "profiles")], ids=str)
    async def test_are_skipped_in_rows(self, stores: dict[str, Store], admin: Any, way: Way) -> None:
        store, item = stores[way.store], example(way)
        await way.save(store, item)
        found = (each for each in DECLARATIONS if each.model is way.model)
        declaration = SCENARIO_ARCHIVE if way.name == "archive" else next(found)
        news = {
            name: with_news(stored, item.__dict__[name])
            for name, stored in zip(declaration.columns, declaration.codec.to_row(item), strict=True)
            if name in declaration.codec.nested and stored is not None
        }
        await rewrite(admin, declaration, item, {"mood": "cheerful", **news})
        assert await way.read(store, item) == item

    async def test_are_skipped_in_what_an_agent_needs(self, stores: dict[str, Store], admin: Any) -> None:
        agent = full_agent(uuid4()).model_copy(update={"enabled": True})
        await stores["config"].save_agent(agent)
        await rewrite(admin, AGENT, agent, {"settings": with_news(agent.settings.model_dump_json(), agent.settings)})
        assert (await stores["config"].get_agent_config(agent.tenant_id, agent.id)).agent == agent
        assert await stores["config"].get_agents(agent.tenant_id) == ([agent], 1)

    async def test_are_skipped_in_profiles_and_merges(self, stores: dict[str, Store], admin: Any) -> None:
        store, tenant = stores["profiles"], uuid4()
        source, target = full_profile(tenant), make_profile(tenant)
        for profile in (source, target):
            await store.save_profile(profile)
            consents = [with_news(consent.model_dump_json(), consent) for consent in profile.consents]
            await admin.execute(
                "UPDATE convostore.profile SET consents = $2 WHERE id = $1", profile.id, f"[{','.join(consents)}]"
            )
        assert source.consents
        assert await store.get_profile(tenant, source.id) == source
        assert await store.list_profiles(tenant) == [target, source]
        merged = await store.merge_profiles(tenant, source.id, target.id)
        done = await admin.execute(
            "UPDATE convostore.profile_merge SET document = jsonb_set(document::jsonb || $2, '{source}', "
            "(document->'source')::jsonb || $2) WHERE source_id = $1",
            source.id,
            '{"mood": "calm"}',
        )
        assert done == "UPDATE 1"
        assert merged.fields.keys() == source.fields.keys()
        await store.unmerge_profiles(tenant, target.id)
        restored = await store.get_profile(tenant, source.id)
        assert restored.fields == source.fields
        assert restored.consents == source.consents

    async def test_are_skipped_in_the_audit_trail_which_stays_verified(
        self, stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, turn = stores["audit"], full_turn(uuid4())
        event = make_event(turn.tenant_id, session_id=turn.session_id)
        with monkeypatch.context() as patch:
            for kind in (TURN, EVENT):
                patch.setattr(kind.codec, "to_canonical", lambda item: with_news(canonical(item), item))
            await store.save_turn(turn)
            await store.save_event(event)
        assert await store.get_turn(turn.tenant_id, turn.turn_id) == turn
        assert await store.list_turns_by_session(turn.tenant_id, turn.session_id) == [turn]
        assert await store.list_turns_by_tenant(turn.tenant_id) == [turn]
        assert await store.list_events(turn.tenant_id) == [event]
        verified = await store.verify(turn.tenant_id)
        assert (verified.problem, verified.bodies) == (None, 2)
        lines = [line async for line in store.export(turn.tenant_id)]
        verifier = Verifier()
        assert check_export(read(lines), verifier) is None
        assert verifier.bodies == 2
        assert sum(NEWS in line for line in lines) == 2


@pytest.mark.slow
class TestSessionsOnANewerSchema(SessionStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> SessionStore:
        return PostgresSessionStore(pool)


@pytest.mark.slow
class TestConfigOnANewerSchema(ConfigStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ConfigStore:
        return PostgresConfigStore(pool)


@pytest.mark.slow
class TestMemoryOnANewerSchema(MemoryStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> MemoryStore:
        return PostgresMemoryStore(pool)


@pytest.mark.slow
class TestAuditOnANewerSchema(AuditStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> AuditStore:
        return PostgresAuditStore(pool)

    @pytest.fixture
    async def operator(self, newer: str) -> AsyncIterator[AuditStore]:
        async with await create_pool(newer, role="convostore_maintenance") as pool:
            yield PostgresAuditStore(pool)


@pytest.mark.slow
class TestProfilesOnANewerSchema(ProfileStoreContract):
    @pytest.fixture
    def store(self, pool: Pool) -> ProfileStore:
        return PostgresProfileStore(pool)
