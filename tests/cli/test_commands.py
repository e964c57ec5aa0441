"""The commands, run as processes: output, exit codes and effects."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from convostore import __version__, open_stores
from convostore.cli.checks import CHECKS
from convostore.cli.options import REPLAY_TENANT
from convostore.domain import verify_export
from convostore.postgres.migrations import HEAD
from convostore.postgres.migrations.printing import migration_sql, roles_sql
from convostore.replay import sample
from convostore.testing.factories import make_session
from tests.cli.conftest import Run
from tests.processes import alive_in, ended, until

RECORDS = Path(sys.modules[sample.__module__].__file__ or "").with_name("sample.jsonl")


@pytest.mark.slow
def test_the_demo_shows_every_store_and_every_check_holds(run: Run, home: Path) -> None:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("Everything that was read back equals what was written.")
    rows = re.findall(r"^(\w+ +\w+ +\d+ +\d+\.\d\d +\d+\.\d\d) *$", done.stdout, re.MULTILINE)
    assert {row.split()[0] for row in rows} == {"config", "profile", "session", "audit", "memory"}
    assert "✗" not in done.stdout
    assert done.stdout.count("✓") >= 10
    assert not home.exists()


async def test_a_killed_demo_leaves_no_process_and_no_file(run: Run, area: Path) -> None:
    command = (sys.executable, "-c", "from convostore.cli import main; main()", "demo")
    environment = {**os.environ, "TMPDIR": str(area), "PYTHONUNBUFFERED": "1"}
    demo = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
    assert demo.stdout is not None
    while b"Stores opened" not in await demo.stdout.readline():
        assert demo.returncode is None
    alive = alive_in(area)
    assert any("postgres" in arguments for arguments in alive.values())
    assert any("valkey-server" in arguments for arguments in alive.values())
    demo.kill()
    await demo.wait()
    await ended(*alive)
    await until(lambda: os.listdir(area) == [], "the home has been removed")
    assert run("demo", TMPDIR=str(area)).returncode == 0
    assert os.listdir(area) == []


@pytest.mark.slow
async def test_a_replay_is_persistent_and_idempotent(run: Run, home: Path) -> None:
    first = run("replay", RECORDS)
    assert first.returncode == 0, first.stderr
    assert str(REPLAY_TENANT) in first.stdout
    assert run("replay", RECORDS).returncode == 0
    async with open_stores(home=home) as stores:
        agents, total = await stores.config.get_agents(REPLAY_TENANT)
        turns = await stores.audit.list_turns_by_tenant(REPLAY_TENANT, limit=1_000)
    assert (total, agents[0].name, len(turns)) == (1, "Quill & Lantern support", 56)


def test_an_invalid_file_is_an_error_in_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text('{"kind": "agent"}\n')
    done = run("replay", path, CONVOSTORE_BACKEND="memory")
    assert (done.returncode, done.stderr) == (2, "convostore: wrong.jsonl, line 1: agent.name: Field required\n")
    assert run("replay", tmp_path / "missing.jsonl").returncode == 2


@pytest.mark.slow
def test_the_schema_is_migrated_up_and_only_with_confirmation_removed(run: Run) -> None:
    assert f"revision {HEAD}" in run("migrate", "--revision", HEAD).stdout
    assert run("migrate", "--revision", "base").returncode == 1
    doctor = run("doctor")
    assert (doctor.returncode, doctor.stdout.count("✓"), doctor.stdout.count("✗")) == (0, len(CHECKS), 0)
    assert run("migrate", "--revision", "base", "--yes").returncode == 0
    doctor = run("doctor")
    assert doctor.returncode == 1
    assert f"✗ schema: at base, this release works with {HEAD}; run: convostore migrate" in doctor.stdout
    assert run("migrate", "--revision", "9999").returncode == 2
    status = run("migrate", "status")
    assert (status.returncode, status.stdout) == (
        1,
        f"The schema is at revision base: this release works with {HEAD}; run: convostore migrate.\n",
    )
    assert run("migrate", "--dry-run").stdout == f"The schema is at revision base; would migrate to {HEAD}.\n"
    assert run("migrate").stdout == f"The schema is at revision {HEAD}, migrated from base.\n"
    assert run("migrate").stdout == f"The schema is at revision {HEAD}, as before.\n"
    assert run("migrate", "status").returncode == 0


def test_the_statements_of_a_migration_are_printed_without_a_server(run: Run) -> None:
    assert run("migrate", "--sql", "--from", "base", "--to", HEAD).stdout == migration_sql("base", HEAD)
    assert run("migrate", "roles", "--sql", "--login", "ann").stdout == roles_sql("ann")
    assert run("migrate", "--sql", "--to", "9999").returncode == 2


def test_an_unreachable_server_is_an_error_in_one_line(run: Run) -> None:
    done = run("migrate", "--postgres-url", "postgresql://127.0.0.1:1/x")
    assert done.returncode == 1
    assert done.stderr == "convostore: Nothing listens at the host and port of the URL.\n"


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["replay", "--help"]])
def test_every_command_has_help(run: Run, arguments: list[str]) -> None:
    assert "Usage: " in run(*arguments).stdout


def test_the_version_is_the_package_s(run: Run) -> None:
    assert run("--version").stdout == f"convostore {__version__}\n"


def test_without_its_extra_the_command_line_names_what_to_install(run: Run) -> None:
    program = "import sys; sys.modules['typer'] = None; from convostore.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'pip install "convostore[cli]"' in done.stderr


@pytest.mark.slow
async def test_a_sweep_prints_its_counts(run: Run, home: Path) -> None:
    async with open_stores(home=home) as stores:
        await stores.sessions.save(make_session(uuid4()))
        done = run("sweep", CONVOSTORE_MAX_AGE="0.001")
    assert (done.returncode, done.stdout) == (0, "0 sessions demoted, 1 deleted.\n")


@pytest.mark.slow
async def test_an_audit_trail_is_verified_exported_and_pruned(run: Run, home: Path, tmp_path: Path) -> None:
    async with open_stores(home=home):
        assert run("replay", RECORDS).returncode == 0
        anchors, trail = tmp_path / "anchors.jsonl", tmp_path / "trail.jsonl"
        done = run("audit", "verify", REPLAY_TENANT, "--write-anchors", anchors)
        assert done.returncode == 0, done.stderr
        found = re.search(r"([\d,]+) records in (\d+) chains and \1 bodies are as they were recorded\.", done.stdout)
        assert found is not None
        assert len(anchors.read_text().splitlines()) == int(found[2])
        assert run("audit", "verify", REPLAY_TENANT, "--anchors", anchors).returncode == 0

        assert run("audit", "export", REPLAY_TENANT, trail).returncode == 0
        assert verify_export.main([str(trail), "--anchors", str(anchors)]) == 0

        session = json.loads(anchors.read_text().splitlines()[-1])["session_id"]
        one = run("audit", "verify", REPLAY_TENANT, "--session", session)
        assert re.match(r"\d+ records in 1 chains", one.stdout)
        assert f'"session_id": "{session}"' in one.stdout

        assert run("audit", "prune", "2020-01").returncode == 1
        done = run("audit", "prune", "2020-01", "--yes")
        assert (done.returncode, done.stdout) == (0, "Dropped the bodies of no month.\n"), done.stderr
        done = run("audit", "prune", "2999-01", "--yes")
        assert (done.returncode, done.stderr) == (2, "convostore: before: must not lie in the future\n")
        anchors.write_text(anchors.read_text().replace(session, str(uuid4())))
        done = run("audit", "verify", REPLAY_TENANT, "--anchors", anchors)
        assert (done.returncode, done.stdout.split(":")[0]) == (1, "missing")
        anchors.write_text("{}")
        assert run("audit", "verify", REPLAY_TENANT, "--anchors", anchors).returncode == 2


@pytest.mark.slow
def test_memory_is_reindexed_and_moved_to_another_model(run: Run, tmp_path: Path) -> None:
    assert run("replay", RECORDS).returncode == 0
    done = run("memory", "reindex", "--memory", "64MB")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "built", "0", "dropped", "0", "kept"]), done.stderr
    (tmp_path / "embedding.py").write_text(
        "from convostore.replay.embedder import HashingEmbedder\n"
        "def embed(texts):\n    return [HashingEmbedder(32).embed(text) for text in texts]\n"
    )
    arguments = ("memory", "re-embed", "--to", "hashing-32", "--batch", "7")
    done = run(*arguments, "--embedder", "embedding:embed", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{REPLAY_TENANT}: [1-9]\d* episodes", done.stdout)
    done = run(*arguments, "--embedder", "embedding:embed", PYTHONPATH=str(tmp_path))
    assert f"{REPLAY_TENANT}: 0 episodes" in done.stdout
    done = run(*arguments, "--embedder", "nowhere:embed")
    assert (done.returncode, done.stderr.split(":")[:2]) == (2, ["convostore", " embedder"])
    assert run("memory", "reindex", "--memory", "a lot").returncode == 2
    done = run("memory", "reindex-text", "--tenant", REPLAY_TENANT, "--batch", "7")
    assert done.returncode == 0, done.stderr
    *_, before, last = re.findall(r"^(\d+) texts, 0 changed; --after (\S+)$", done.stdout, re.M)
    for only in (("--tenant", REPLAY_TENANT), ()):
        done = run("memory", "reindex-text", *only, "--after", before[1])
        assert done.stdout == f"{int(last[0]) - int(before[0])} texts, 0 changed; --after {last[1]}\n"
    for cursor in (last[1].partition(":")[2], f"{REPLAY_TENANT}:session:{uuid4()}", f"{REPLAY_TENANT}:rule:1"):
        done = run("memory", "reindex-text", "--after", cursor)
        assert (done.returncode, done.stderr.split(",")[0]) == (2, "convostore: after: is no cursor")


async def test_migrate_changes_whether_session_ids_are_unique_per_tenant(run: Run, home: Path) -> None:
    done = run("migrate", "--sessions-by-tenant")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Session ids are unique per tenant.\n")
    refused = run("sweep")
    assert refused.returncode == 2
    assert "sessions_by_tenant" in refused.stderr
    assert run("sweep", CONVOSTORE_SESSIONS_BY_TENANT="true").returncode == 0
    assert run("replay", RECORDS, CONVOSTORE_SESSIONS_BY_TENANT="true").returncode == 0
    assert run("migrate", "--sessions-across-tenants").stdout.endswith("Session ids are unique across tenants.\n")
    assert run("sweep").returncode == 0


async def test_migrate_to_citus_needs_the_extension(run: Run, home: Path) -> None:
    refused = run("migrate", "--citus")
    assert refused.returncode == 2
    assert "no extension citus" in refused.stderr
