"""The scripts of the page on backups: what was dumped is restored, and proven to be what was recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.embedded.binaries import postgres_programs
from convostore.testing.factories import full_session, make_episode, make_event, make_turn
from tests.docs.pages import DOCS, titled
from tests.postgres.databases import connected, dsn_of

SCRIPTS = dict(titled(DOCS / "howto" / "backup.md"))


@pytest.fixture(params=["engines", pytest.param("postgres16", marks=pytest.mark.slow)], ids=["18", "16"])
def dumped(request: pytest.FixtureRequest) -> Embedded:
    """The server that is dumped: of the release to which it is restored, or of an older one, as in an upgrade."""
    opened: Embedded = request.getfixturevalue(request.param)
    return opened


@pytest.mark.timeout(300)
async def test_a_dump_is_restored_and_its_trail_proven(engines: Embedded, dumped: Embedded, tmp_path: Path) -> None:
    tenant = uuid4()
    source, target = dsn_of(dumped.postgres_dsn, database="dumped"), dsn_of(engines.postgres_dsn, database="restored")
    path = f"{postgres_programs(18)}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "TENANT": str(tenant),
        "SOURCE": source,
        "CONVOSTORE_POSTGRES_URL": source,
        "CONVOSTORE_REDIS_URL": engines.redis_url,
        "SERVER": dsn_of(engines.postgres_dsn, database="postgres"),
        "TARGET": target,
        "LOGIN": "postgres",
    }

    def run(script: str) -> str:
        done = subprocess.run(
            ["sh", "-euc", SCRIPTS[script]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async with connected(engines.postgres_dsn) as admin, connected(dumped.postgres_dsn) as source_admin:
        await source_admin.execute("CREATE DATABASE dumped")
        try:
            session, turn = full_session(tenant), make_turn(tenant)
            episode = make_episode(tenant, uuid4(), content="The parcel was late", embedding=[1.0, 2.0])
            async with open_stores(postgres_url=source, redis_url=engines.redis_url, sweep_every=0) as stores:
                await stores.sessions.save(session)
                await stores.audit.save_turn(turn)
                await stores.audit.save_event(make_event(tenant))
                await stores.memory.add_episode(episode)
            run("dump.sh")
            run("restore.sh")
            assert "2 records" in run("prove.sh")
            async with open_stores(postgres_url=target, redis_url=engines.redis_url, sweep_every=0) as stores:
                assert await stores.sessions.get(session.session_id) == session
                assert await stores.audit.get_turn(tenant, turn.turn_id) == turn
                assert await stores.memory.text_search_episodes("parcels", tenant, episode.agent_id) == []
                assert await stores.memory.text_search_episodes("parcel", tenant, episode.agent_id) == [episode]
                assert await stores.audit.list_turns_by_session(uuid4(), turn.session_id) == []
            async with connected(target) as administrator:
                (table,) = await administrator.fetchrow(
                    "SELECT tableoid::regclass::text FROM convostore.audit_body WHERE tenant_id = $1 LIMIT 1", tenant
                )
                await administrator.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
                await administrator.execute(f"UPDATE {table} SET content = ''")
            with pytest.raises(AssertionError, match="changed"):
                run("prove.sh")
        finally:
            await admin.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
            await source_admin.execute("DROP DATABASE IF EXISTS dumped WITH (FORCE)")
