"""What `convostore doctor` finds of the upkeep: the audit trail, the sweeper, searches, what Redis keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from convostore.cli.checks import CHECKS
from convostore.cli.doctor import examined
from convostore.cli.targets import Target
from convostore.embedded import Embedded
from convostore.models.fields import now
from convostore.postgres import (
    PostgresAuditStore,
    PostgresMemoryStore,
    PostgresSessionStore,
    create_pool,
    migrate,
    reindexing,
)
from convostore.postgres.pool import MAINTENANCE_ROLE
from convostore.postgres.text_reindexing import reindex_text
from convostore.redis import create_client
from convostore.testing.factories import make_entity, make_episode, make_session, make_turn
from tests.cluster.nodes import Node, eventually, free_ports
from tests.postgres.databases import connected, fresh_database, fresh_user

STORED = """
INSERT INTO convostore.entity (
    tenant_id, id, agent_id, group_id, name, entity_type, attributes, valid_from, recorded_at, revision)
VALUES ('{}', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'ÄPFEL', 'company', '{{}}', now(), now(), 1)
"""
"""As the release stores an entity that knows no `search_text`."""

BY_SUBJECT = {check.subject: check for check in CHECKS}


@pytest.fixture
async def target(engines: Embedded) -> AsyncIterator[Target]:
    """A migrated database of the test's own, and the shared Valkey."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        yield Target(dsn, engines.redis_url, pool_size=10, max_age=3_600)


async def found(subject: str, target: Target) -> tuple[str, str]:
    """Return the status of a check and what it says."""
    finding = await examined(BY_SUBJECT[subject], target, 60.0)
    return finding.status, finding.detail


async def change(target: Target, statement: str) -> None:
    """Run a statement as an administrator."""
    async with connected(target.postgres_url) as admin:
        await admin.execute(statement)


async def test_an_audit_table_that_may_be_changed_is_an_alarm(target: Target) -> None:
    await change(target, "ALTER TABLE convostore.audit_record DISABLE TRIGGER is_append_only")
    status, detail = await found("audit trail", target)
    assert status == "failed"
    mend = "CALL convostore.make_append_only('convostore.audit_record')"
    assert detail.startswith(f"audit_record may be changed; run: {mend}")
    await change(target, mend)
    assert (await found("audit trail", target))[0] == "ok"


async def test_the_head_of_a_chain_that_contradicts_its_records_is_an_alarm(target: Target) -> None:
    tenant = uuid4()
    async with await create_pool(target.postgres_url) as pool:
        session = make_session(tenant)
        await PostgresSessionStore(pool).save(session)
        await PostgresAuditStore(pool).save_turn(make_turn(tenant, session_id=session.session_id))
    assert await found("audit trail", target) == (
        "ok",
        "its tables refuse changes, and the heads of 1 chains of 1 tenants fit their records",
    )
    await change(target, "UPDATE convostore.audit_head SET sequence = sequence + 1")
    assert await found("audit trail", target) == (
        "failed",
        f"a head contradicts its records; run: convostore audit verify {tenant}",
    )


async def test_months_that_nobody_prepared_tell_that_no_sweeper_runs(target: Target) -> None:
    assert (await found("sweeper", target))[0] == "ok"
    month = f"{(now().replace(day=1) + timedelta(days=62)).replace(day=1):%Y_%m}"
    await change(target, f"DROP TABLE convostore.audit_body_{month}")
    assert await found("sweeper", target) == (
        "doubtful",
        f"there is no partition for {month.replace('_', '-')}: none has run for long; let open_stores sweep, or cron "
        "run: convostore sweep",
    )


async def test_sessions_that_nobody_deleted_tell_that_no_sweeper_runs(target: Target) -> None:
    async with await create_pool(target.postgres_url) as pool:
        await PostgresSessionStore(pool).save(make_session(uuid4()))
    assert (await found("sweeper", target))[0] == "ok"
    await change(target, "UPDATE convostore.session SET last_activity_at = now() - interval '3 hours'")
    status, detail = await found("sweeper", target)
    assert (status, detail.partition(":")[0]) == ("doubtful", "1 sessions are older than max_age")


async def test_a_tenant_that_needs_an_index_is_told_the_command(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "EXACT_ROWS", 1)
    tenant = uuid4()
    async with await create_pool(target.postgres_url) as pool:
        episodes = [make_episode(tenant, uuid4(), embedding=[1.0, 2.0], embedding_model="m") for _ in range(2)]
        await PostgresMemoryStore(pool).add_episodes(episodes)
    assert await found("vector indexes", target) == (
        "doubtful",
        "1 tenants have more than 20,000 vectors without one; run: convostore memory reindex",
    )
    await reindexing.reindex(target.postgres_url, memory="64MB")
    assert (await found("vector indexes", target))[0] == "ok"


async def test_texts_that_an_earlier_release_has_stored_are_told_the_command(target: Target) -> None:
    tenants = [uuid4() for _ in range(3)]
    async with await create_pool(target.postgres_url) as pool:
        store = PostgresMemoryStore(pool)
        await store.add_episode(make_episode(tenants[0], uuid4(), content="ﾊﾟｽﾎﾟｰﾄ", language="simple"))
        for tenant in tenants[1:]:
            await store.add_entity(make_entity(tenant, uuid4(), name="Müller GmbH"))
    assert await found("text search", target) == (
        "ok",
        "the oldest texts of 3 tenants are found as this release lets them",
    )
    for tenant in tenants[:2]:
        await change(target, STORED.format(tenant))
    assert await found("text search", target) == (
        "doubtful",
        "2 of 3 tenants have texts to reindex; run: convostore memory reindex-text",
    )
    async with await create_pool(target.postgres_url, role=MAINTENANCE_ROLE) as pool:
        assert sum([batch.changed async for batch in reindex_text(pool)]) == 2
    assert (await found("text search", target))[0] == "ok"


@pytest.mark.parametrize("subject", ["vector indexes", "text search"])
async def test_a_user_who_may_not_look_across_tenants_is_told_the_grant(target: Target, subject: str) -> None:
    async with fresh_user(target.postgres_url, "IN ROLE convostore_app") as dsn:
        status, detail = await found(subject, Target(dsn, target.redis_url, 10))
    assert (status, detail) == (
        "doubtful",
        "could not be checked; GRANT convostore_maintenance TO the user of the URL",
    )


async def test_what_redis_keeps_is_told_and_a_disk_that_it_cannot_write_to_is_doubted(
    target: Target, tmp_path: Path
) -> None:
    assert await found("persistence", target) == ("ok", "appendonly keeps what is stored")
    (port,) = free_ports(1)
    node = Node(tmp_path / "node", (), port)
    node.start()
    try:
        await eventually(node.answers, "it answers")
        kept = Target(target.postgres_url, f"redis://127.0.0.1:{port}", 10)
        assert await found("persistence", kept) == (
            "ok",
            "keeps snapshots at most, which loses hot copies alone; RedisSessionStore needs appendonly yes",
        )
        (tmp_path / "node").rmdir()
        async with create_client(kept.redis_url) as client:
            await client.bgsave()

        async def has_failed() -> bool:
            return bool((await node.info("persistence"))["rdb_last_bgsave_status"] == "err")

        await eventually(has_failed, "the snapshot has failed")
        status, detail = await found("persistence", kept)
    finally:
        node.kill()
    assert (status, detail.partition(",")[0]) == ("doubtful", "cannot write to its disk")
