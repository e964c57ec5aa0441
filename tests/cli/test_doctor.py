"""The checks of `convostore doctor`: what each found, or what is wrong and what mends it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from rich.console import Console

from convostore.call.translation import UNANSWERED
from convostore.cli import checks
from convostore.cli.checks import CHECKS
from convostore.cli.doctor import Finding, examined, run
from convostore.cli.targets import Target
from convostore.embedded import Embedded
from convostore.models.fields import now
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.redis import create_client
from convostore.testing.factories import make_agent
from tests.postgres.databases import connected, dsn_of, fresh_database, fresh_user
from tests.silence import silent_server

BY_SUBJECT = {check.subject: check for check in CHECKS}


@pytest.fixture
def target(engines: Embedded) -> Target:
    """The shared servers, which are as they should be."""
    return Target(engines.postgres_dsn, engines.redis_url, pool_size=10)


async def found(subject: str, target: Target, timeout: float = 20.0) -> tuple[str, str]:
    """Return the status of a check and what it says."""
    finding = await examined(BY_SUBJECT[subject], target, timeout)
    return finding.status, finding.detail


async def printed(given: dict[str, Any], width: int = 200) -> tuple[bool, str]:
    """Return what the doctor returns and prints."""
    said = io.StringIO()
    ok = await run(Console(file=said, width=width), given)
    return ok, said.getvalue()


@pytest.fixture
async def own(engines: Embedded) -> AsyncIterator[str]:
    """The DSN of a migrated database of the test's own."""
    async with fresh_database(engines.postgres_dsn) as dsn:
        await migrate(dsn)
        yield dsn


@pytest.mark.parametrize("subject", BY_SUBJECT)
async def test_every_check_passes_on_servers_as_they_should_be(subject: str, target: Target) -> None:
    status, detail = await found(subject, target)
    assert status == "ok", detail


async def test_a_check_stands_after_the_one_that_it_needs() -> None:
    seen = set[str]()
    for check in CHECKS:
        assert seen.issuperset(check.needs)
        seen.add(check.subject)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://127.0.0.1:1", "Nothing listens at the host and port of the Redis URL."),
        ("redis+cluster://127.0.0.1:1", "No node of the cluster could be reached."),
    ],
)
async def test_what_depends_on_something_broken_is_skipped_not_blamed(target: Target, url: str, message: str) -> None:
    ok, said = await printed({"postgres_url": target.postgres_url, "redis_url": url})
    assert not ok
    assert f"✗ Redis or Valkey: {message}" in said
    assert "- eviction: needs Redis or Valkey" in said
    assert said.count("✗") == 1


async def test_the_engines_are_named_without_credentials(target: Target) -> None:
    given = {
        "postgres_url": target.postgres_url.replace("//postgres@", "//postgres:hunter2@"),
        "redis_url": target.redis_url,
    }
    ok, said = await printed(given)
    assert ok, said
    assert "database convostore" in said
    assert "hunter2" not in said


async def test_json_has_everything(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"postgres_url": target.postgres_url, "redis_url": target.redis_url}
    assert await run(Console(file=io.StringIO()), given, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["engines"]["redis"]["embedded"]) == (True, False)
    assert [Finding(**each).subject for each in told["findings"]] == list(BY_SUBJECT)


async def test_a_user_who_may_not_call_info_is_told_what_could_not_be_checked(target: Target) -> None:
    restricted = replace(target, redis_url=f"{target.redis_url}?username=uninformed&password=password")
    async with create_client(target.redis_url) as client:
        await client.execute_command("ACL", "SETUSER", "uninformed", "on", ">password", "+@all", "-info", "~*")
        assert "could not be checked" in (await found("Redis or Valkey", restricted))[1]
        status, detail = await found("eviction", restricted)
        await client.acl_deluser("uninformed")
    assert status == "doubtful"
    assert "could not be checked" in detail


async def test_a_silent_server_is_given_up_in_time(target: Target) -> None:
    async with silent_server() as port:
        silent = replace(target, postgres_url=f"postgresql://app@127.0.0.1:{port}/x")
        assert await found("PostgreSQL", silent, 0.2) == ("failed", UNANSWERED)


async def test_a_user_without_the_role_of_the_application_is_told_the_grant(target: Target) -> None:
    async with fresh_user(target.postgres_url, "") as dsn:
        status, detail = await found("application role", replace(target, postgres_url=dsn))
    assert status == "failed"
    assert "convostore_app" in detail


async def test_a_table_without_row_level_security_is_named(target: Target, own: str) -> None:
    async with connected(own) as admin:
        await admin.execute("ALTER TABLE convostore.rule NO FORCE ROW LEVEL SECURITY")
    status, detail = await found("isolation", replace(target, postgres_url=own))
    assert (status, detail.partition(";")[0]) == ("failed", "without row-level security: rule")


async def test_rows_that_are_seen_without_a_tenant_are_an_alarm(target: Target, own: str) -> None:
    async with connected(own) as admin:
        await admin.execute("CREATE POLICY open ON convostore.agent TO convostore_app USING (true)")
    async with await create_pool(own) as pool:
        await PostgresConfigStore(pool).save_agent(make_agent(uuid4()))
    status, detail = await found("isolation", replace(target, postgres_url=own))
    assert (status, detail.partition(";")[0]) == ("failed", "rows are seen without a tenant")


async def test_an_invalid_index_is_named_with_the_statement_that_builds_it(target: Target, own: str) -> None:
    async with connected(own) as admin:
        await admin.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'convostore.episode_agent_id_idx'::regclass"
        )
    assert await found("indexes", replace(target, postgres_url=own)) == (
        "doubtful",
        "episode_agent_id_idx invalid; run: REINDEX INDEX CONCURRENTLY convostore.episode_agent_id_idx",
    )


async def test_a_missing_month_is_named(target: Target, own: str) -> None:
    month = f"{now():%Y_%m}"
    async with connected(own) as admin:
        await admin.execute(f"DROP TABLE convostore.audit_body_{month}")
    assert await found("audit months", replace(target, postgres_url=own)) == (
        "doubtful",
        f"no partition for {month}; run: convostore sweep",
    )


async def test_a_pool_that_is_too_large_is_doubted(target: Target) -> None:
    status, detail = await found("connections", replace(target, pool_size=1_000))
    assert status == "doubtful"
    assert "lower pool_size" in detail


@pytest.mark.parametrize("subject", ["clock of PostgreSQL", "clock of Redis or Valkey"])
async def test_a_clock_that_is_apart_is_doubted(target: Target, subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "now", lambda: now() + timedelta(seconds=90))
    status, detail = await found(subject, target)
    assert status == "doubtful"
    assert "synchronise them by NTP" in detail


async def test_a_database_that_is_not_migrated_is_told_the_command(target: Target) -> None:
    async with fresh_database(target.postgres_url) as dsn:
        status, detail = await found("schema", replace(target, postgres_url=dsn))
    assert status == "failed"
    assert detail.endswith("run: convostore migrate")


async def test_a_database_that_does_not_exist(target: Target) -> None:
    missing = replace(target, postgres_url=dsn_of(target.postgres_url, database="nowhere"))
    assert await found("PostgreSQL", missing) == (
        "failed",
        "The database does not exist; create it, or correct its name in the URL.",
    )
