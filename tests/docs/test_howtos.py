"""What the how-to pages show is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.postgres.migrations import scripts
from convostore.redis import RedisSessionStore, create_client, train_dictionary
from convostore.replay import (
    AgentRecord,
    ConversationRecord,
    RuleRecord,
    ScenarioRecord,
    TemplateRecord,
    VariableRecord,
    read,
)
from convostore.testing.factories import full_session, make_agent
from tests.docs.pages import DOCS, blocks, output_of, titled
from tests.postgres.databases import connected, dsn_of

HOWTOS = DOCS / "howto"
REPLAY = HOWTOS / "replay.md"


def test_the_records_of_the_replay_page_are_records(tmp_path: Path) -> None:
    (example,) = blocks(REPLAY, "json")
    path = tmp_path / "example.jsonl"
    path.write_text(example)
    assert [record.kind for record in read(path)] == ["agent", "scenario", "conversation"]


def test_the_replay_page_lists_every_field_of_every_record() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", REPLAY.read_text(), re.MULTILINE))
    for model in (AgentRecord, ConversationRecord, RuleRecord, ScenarioRecord, TemplateRecord, VariableRecord):
        row = rows[model.model_fields["kind"].default]
        for name, field in model.model_fields.items():
            if name != "kind":
                assert f"`{name}{'' if field.is_required() else '?'}`" in row, (model, name)


async def test_the_page_on_demoted_sessions_works(tmp_path: Path, engines: Embedded) -> None:
    tenant, agent = uuid4(), uuid4()
    names: dict[str, Any] = {
        "Path": Path,
        "Redis": Redis,
        "RedisSessionStore": RedisSessionStore,
        "UUID": UUID,
        "train_dictionary": train_dictionary,
    }
    for block in blocks(HOWTOS / "demoted-sessions.md", "python"):
        exec(block, names)
    async with create_client(engines.redis_url) as client:
        sessions = [full_session(tenant).model_copy(update={"agent_id": agent}) for _ in range(100)]
        for session in sessions:
            await RedisSessionStore(client).save(session)
        await names["learn"](RedisSessionStore(client), tenant, [agent], tmp_path / "dictionary")
        store = names["open_with"](client, [tmp_path / "dictionary"])
        assert await store.demote_to_persistent(sessions[0].session_id)
        assert await store.get(sessions[0].session_id) == sessions[0]
        await store.aclose()


def test_the_example_of_the_search_page_prints_what_its_figure_shows() -> None:
    page = DOCS / "explanation" / "search.md"
    (example,), (printed,) = blocks(page, "python"), blocks(page, "text")
    lines = output_of(example)
    assert lines == printed.splitlines()
    drawn = re.findall(r">(\d)</text>(?:\n<rect[^>]*>)*\n<text[^>]*>([-\d.]+)</text>", page.read_text("utf-8"))
    # Before the steps, the figure has what words (2) and meaning (5) found.
    assert drawn[7:] == [tuple(each.split(": ")) for line in lines for each in line.split("  ")[1:]]


@pytest.mark.parametrize("name", ["audit", "channels", "memory", "profiles", "turn"])
def test_the_example_of_a_page_prints_what_it_says(name: str) -> None:
    page = HOWTOS / f"{name}.md"
    (example,), (printed,) = blocks(page, "python"), blocks(page, "text")
    assert output_of(example) == printed.splitlines()


@pytest.mark.parametrize("name", ["audit", "deadlines"])
def test_the_example_of_an_explanation_prints_what_it_says(name: str) -> None:
    page = DOCS / "explanation" / f"{name}.md"
    (example,), (printed,) = blocks(page, "python"), blocks(page, "text")
    assert output_of(example) == printed.splitlines()


def test_the_examples_of_the_page_on_faults_find_a_bug_and_an_unknown_outcome() -> None:
    backend, _, application, _ = blocks(HOWTOS / "test-under-faults.md", "python")
    assert output_of(backend) == ["MySessions ConflictError", "MendedSessions revision 1"]
    assert output_of(application) == ["unknown True", "1"]


def test_the_machine_of_the_page_on_faults_finds_the_bug() -> None:
    names: dict[str, Any] = {}
    exec(blocks(HOWTOS / "test-under-faults.md", "python")[1], names)
    with pytest.raises(AssertionError):
        names["test_any_sequence_of_operations_has_the_same_answers"]()


async def test_the_proxy_of_the_page_on_faults_works(engines: Embedded) -> None:
    names: dict[str, Any] = {}
    exec(blocks(HOWTOS / "test-under-faults.md", "python")[3], names)
    await names["test_what_happens_to_a_save"](Path(engines.redis_url.removeprefix("unix://")))


async def test_the_user_of_the_migrations_page_is_enough_for_an_application(engines: Embedded) -> None:
    create, _ = blocks(HOWTOS / "migrations.md", "sql")
    agent, dsn = make_agent(uuid4()), dsn_of(engines.postgres_dsn, user="shop")
    async with connected(engines.postgres_dsn) as admin:
        await admin.execute(create)
        try:
            await migrate(dsn)
            async with await create_pool(dsn) as pool:
                await PostgresConfigStore(pool).save_agent(agent)
                assert await PostgresConfigStore(pool).get_agent(agent.tenant_id, agent.id) == agent
        finally:
            await admin.execute("DROP ROLE shop")


async def test_the_migration_of_the_migrations_page_leads_both_ways(engines: Embedded, tmp_path: Path) -> None:
    _, example = blocks(HOWTOS / "migrations.md", "sql")
    (tmp_path / "0002_locale.sql").write_text(example)
    migration = scripts.read(tmp_path / "0002_locale.sql")
    assert (migration.version, migration.phase, migration.compatible) == ("0002", "expand", "0001")
    async with connected(engines.postgres_dsn) as admin:
        transaction = admin.transaction()
        await transaction.start()
        for statement in (*migration.up, *migration.down):
            await admin.execute(statement)
        await transaction.rollback()


def test_the_tests_of_the_page_on_testing_pass(tmp_path: Path) -> None:
    (tmp_path / "test_greeting.py").write_text(
        "\n\n".join(code for _, code in titled(HOWTOS / "test-an-application.md"))
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "4 passed" in done.stdout, done.stdout


async def test_the_statement_of_the_page_on_production_lists_the_tables(engines: Embedded) -> None:
    (statement,) = blocks(HOWTOS / "production.md", "sql")
    async with connected(engines.postgres_dsn) as connection:
        tables = {row["table"] for row in await connection.fetch(statement)}
    assert {"session", "episode", "audit_record", "profile"} <= tables
