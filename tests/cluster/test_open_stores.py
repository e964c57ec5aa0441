"""`open_stores` and `convostore doctor` with the URL of a cluster."""

from __future__ import annotations

import io
from uuid import uuid4

from rich.console import Console

from convostore import open_stores
from convostore.cli.doctor import run
from convostore.embedded import Embedded
from convostore.testing.factories import make_session
from tests.cluster.nodes import Cluster


async def test_stores_are_opened_on_a_cluster(cluster: Cluster, engines: Embedded) -> None:
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=cluster.url) as stores:
        session = make_session(uuid4())
        await stores.sessions.save(session)
        assert await stores.sessions.get(session.session_id) == session
        assert (await stores.health()).ok
        assert stores.sessions.hot_failures == 0  # type: ignore[attr-defined]


async def test_the_doctor_checks_every_primary(cluster: Cluster, engines: Embedded) -> None:
    said = io.StringIO()
    given = {"postgres_url": engines.postgres_dsn, "redis_url": cluster.url}
    assert await run(Console(file=said, width=200), given)
    assert " on 3 primaries of a cluster" in said.getvalue()
    assert "✓ eviction" in said.getvalue()


async def test_the_doctor_reports_an_unreachable_cluster(engines: Embedded) -> None:
    said = io.StringIO()
    given = {"postgres_url": engines.postgres_dsn, "redis_url": "redis+cluster://127.0.0.1:1"}
    assert not await run(Console(file=said, width=200), given)
    assert "✗ Redis or Valkey: No node of the cluster could be reached." in said.getvalue()
