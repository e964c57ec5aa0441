"""What every command does, whichever it is: JSON, help, errors in one line, an end when it is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner, Result

from convostore.cli.app import app
from convostore.domain import verify_export
from convostore.embedded import Embedded
from convostore.models.fields import now
from convostore.postgres import PostgresAuditStore, PostgresConfigStore, PostgresProfileStore, create_pool
from convostore.testing.factories import make_agent, make_event, make_field, make_profile, make_turn
from tests.cli.conftest import Run
from tests.secrets.test_commands import COMMANDS, commands

MODULE = (sys.executable, "-m", "convostore")


async def invoke(*arguments: object, **variables: str) -> Result:
    """Run a command in a thread; return its result."""
    return await asyncio.to_thread(CliRunner().invoke, app, [*map(str, arguments)], env=variables)


def own_arguments(name: str, tmp_path: Path) -> list[str]:
    """Return the arguments of a command."""
    return commands(tmp_path).get(name, [])


def said_in_one_line(result: Result) -> bool:
    """Return whether a command failed as commands do."""
    lines = result.stderr.splitlines()
    return len(lines) == 1 and lines[0].startswith("convostore: ") and isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("name", COMMANDS)
def test_it_prints_json_on_demand_and_names_its_variables_in_its_help(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout
    for setting in ("home", "postgres-url", "redis-url"):
        variable = f"CONVOSTORE_{setting.upper().replace('-', '_')}"
        assert (f"--{setting}" in options) == (variable in shown), variable
    assert "CONVOSTORE_" in shown


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_server_that_is_not_there_is_an_error_in_one_line(name: str, tmp_path: Path) -> None:
    if name == "demo":
        pytest.skip("starts servers of its own")
    nowhere = {"CONVOSTORE_POSTGRES_URL": "postgresql://127.0.0.1:1/x", "CONVOSTORE_REDIS_URL": "redis://127.0.0.1:1"}
    for form in ((), ("--json",)):
        result = await invoke(*name.split(), *own_arguments(name, tmp_path), *form, **nowhere)
        if name == "doctor":
            assert (result.exit_code, "✗" in result.stdout or '"failed"' in result.stdout) == (1, True)
        else:
            assert (result.exit_code in (1, 2), result.stdout, said_in_one_line(result)) == (True, "", True), result


@pytest.fixture
async def tenant(engines: Embedded) -> UUID:
    """A tenant with an agent, a turn and an event."""
    tenant = uuid4()
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresConfigStore(pool).save_agent(make_agent(tenant, id=tenant))
        await PostgresAuditStore(pool).save_turn(make_turn(tenant, session_id=tenant))
        await PostgresAuditStore(pool).save_event(make_event(tenant))
    return tenant


def urls(engines: Embedded) -> dict[str, str]:
    """Return the variables that name the shared engines."""
    return {"CONVOSTORE_POSTGRES_URL": engines.postgres_dsn, "CONVOSTORE_REDIS_URL": engines.redis_url}


WITHOUT_RESULT = {"inspect session", "inspect profile", "inspect timeline", "config import"}
"""Need what the tenant does not have; that they print JSON is in test_inspect.py and test_config.py."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT_RESULT))
async def test_json_is_one_value_and_nothing_else(engines: Embedded, tenant: UUID, name: str, tmp_path: Path) -> None:
    given = own_arguments(name, tmp_path)
    # What the other arguments name is the tenant itself: it is its own agent and session.
    arguments = [str(tenant) if is_id(argument) else argument for argument in given]
    if name == "migrate roles":
        arguments.append("--sql")
    result = await invoke(*name.split(), *arguments, "--json", **urls(engines))
    assert (result.exit_code, result.stderr) == (0, ""), result
    assert isinstance(json.loads(result.stdout), dict)


def is_id(argument: str) -> bool:
    try:
        UUID(argument)
    except ValueError:
        return False
    return True


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that accepts connections and says nothing: its address, and the event of a connection."""
    connected, ended = asyncio.Event(), asyncio.Event()

    async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1")
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", connected
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("name", COMMANDS)
async def test_an_interrupt_ends_it_with_130_and_without_a_traceback(name: str, tmp_path: Path, area: Path) -> None:
    async with silent() as (address, connected):
        environment = {
            **os.environ,
            "CONVOSTORE_POSTGRES_URL": f"postgresql://{address}/x",
            "CONVOSTORE_REDIS_URL": f"redis://{address}",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(area),
        }
        command = (*MODULE, *name.split(), *own_arguments(name, tmp_path))
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
        assert process.stdout is not None
        if name == "demo":
            while b"Stores opened" not in await process.stdout.readline():
                assert process.returncode is None
        else:
            await connected.wait()
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
    assert (process.returncode, said.strip()) == (130, b"")


LEAVING = """
import asyncio, os, signal
from convostore.cli.options import run

def leave(loop):
    loop.create_future().set_exception(ConnectionError("left"))

async def command():
    loop = asyncio.get_running_loop()
    try:
        {before}
        await asyncio.sleep(0)
    finally:
        {leave}
    return True

run(command())
"""
"""A command that leaves an error behind that nobody asks for, at its end or after it."""


@pytest.mark.parametrize("before", ["os.kill(os.getpid(), signal.SIGINT)", "pass"])
@pytest.mark.parametrize("leave", ["leave(loop)", "loop.call_soon(loop.call_soon, loop.call_soon, leave, loop)"])
async def test_what_is_left_half_done_is_reported_unless_the_command_was_interrupted(leave: str, before: str) -> None:
    program = LEAVING.format(before=before, leave=leave)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, stderr=PIPE)
    _, said = await process.communicate()
    assert (b"ConnectionError: left" in said) == (before == "pass"), said


async def test_an_interrupted_question_ends_the_command_too(engines: Embedded) -> None:
    for command in (("migrate", "--to", "base"), ("audit", "prune", "2020-01"), ("purge",)):
        process = await asyncio.create_subprocess_exec(
            *MODULE, *command, env={**os.environ, **urls(engines)}, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.stderr is not None
        assert b"Continue?" in await process.stderr.readuntil(b": ")
        process.send_signal(signal.SIGINT)
        printed, said = await process.communicate()
        assert (process.returncode, printed, said.strip()) == (130, b"", b"")
        refused = await invoke(*command, **urls(engines))
        assert (refused.exit_code, refused.stdout) == (1, "")


UNWRITABLE: dict[str, list[object]] = {
    "a folder that is not there": ["audit", "export", "TENANT", "/nowhere/trail.jsonl"],
    "a file as a folder": ["audit", "export", "TENANT", "FILE/trail.jsonl"],
    "a folder as a file": ["audit", "export", "TENANT", "FOLDER"],
    "anchors in no folder": ["audit", "verify", "TENANT", "--write-anchors", "/nowhere/anchors.jsonl"],
    "anchors as a folder": ["audit", "verify", "TENANT", "--write-anchors", "FOLDER"],
    "anchors that are not there": ["audit", "verify", "TENANT", "--anchors", "/nowhere/anchors.jsonl"],
    "a file as a directory of files": ["config", "export", "TENANT", "TENANT", "FILE/below"],
    "a directory that is not there": ["config", "import", "TENANT", "/nowhere"],
    "records that are not there": ["replay", "/nowhere/records.jsonl"],
    "records that are a folder": ["replay", "FOLDER"],
    "a home that cannot be": ["migrate", "status", "--home", "FILE/home"],
}


@pytest.mark.parametrize("what", UNWRITABLE)
async def test_a_path_that_cannot_be_used_is_named_without_a_traceback(
    engines: Embedded, tenant: UUID, tmp_path: Path, what: str
) -> None:
    (tmp_path / "file").write_text("")
    places = {"TENANT": str(tenant), "FILE": str(tmp_path / "file"), "FOLDER": str(tmp_path)}
    arguments = [str(argument) for argument in UNWRITABLE[what]]
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    given = {} if "--home" in arguments else urls(engines)
    result = await invoke(*arguments, COLUMNS="300", **given)
    assert (result.exit_code in (1, 2), result.stdout) == (True, ""), result
    assert isinstance(result.exception, SystemExit)
    path = next(argument for argument in reversed(arguments) if argument.startswith("/"))
    assert path.removesuffix("/below").removesuffix("/home") in result.stderr
    assert [*files_in(tmp_path)] == [tmp_path / "file"]


async def test_a_dash_is_standard_output_and_input(engines: Embedded, tenant: UUID, tmp_path: Path, run: Run) -> None:
    exported = run("audit", "export", tenant, "-", **urls(engines))
    assert exported.stderr == ""
    (tmp_path / "trail").write_text(exported.stdout)
    assert verify_export.main([str(tmp_path / "trail")]) == 0
    anchored = run("audit", "verify", tenant, "--write-anchors", "-", **urls(engines))
    assert {json.loads(line)["tenant_id"] for line in anchored.stdout.splitlines()} == {str(tenant)}
    assert "2 records in 2 chains" in anchored.stderr
    wrong = await invoke("replay", "-", CONVOSTORE_BACKEND="memory")
    assert wrong.exit_code in (0, 2)


async def test_a_verification_goes_on_where_another_ended(engines: Embedded, tenant: UUID, tmp_path: Path) -> None:
    state, verify = tmp_path / "state.json", ("audit", "verify", tenant, "--json", "--resume", tmp_path / "state.json")
    async with await create_pool(engines.postgres_dsn) as pool:
        step = await PostgresAuditStore(pool).verify(tenant, limit=1)
    state.write_text(step.model_dump_json())
    done = await invoke(*verify, **urls(engines))
    assert (done.exit_code, json.loads(done.stdout)["records"], state.exists()) == (0, 2, False), done.stderr
    # What it counts is the figure of the step before and its own.
    state.write_text(step.model_copy(update={"records": 41}).model_dump_json())
    assert json.loads((await invoke(*verify, **urls(engines))).stdout)["records"] == 42
    for wrong in ("{}", step.model_copy(update={"next": None}).model_dump_json(), "nothing"):
        state.write_text(wrong)
        assert (await invoke(*verify, **urls(engines))).exit_code == 2
        assert state.read_text() == wrong


async def test_a_purge_counts_what_it_removed(engines: Embedded) -> None:
    tenant = uuid4()
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresConfigStore(pool).save_agent(make_agent(tenant, id=tenant))
        await PostgresConfigStore(pool).delete_agent(tenant, tenant)
    kept = await invoke("purge", "--yes", **urls(engines))
    assert (kept.exit_code, kept.stdout) == (0, "0 deleted objects purged.\n"), kept.stderr
    done = await invoke("purge", "--days", "0", "--yes", "--json", **urls(engines))
    assert json.loads(done.stdout)["purged"] >= 1
    async with await create_pool(engines.postgres_dsn) as pool:
        assert await PostgresConfigStore(pool).restore_agent(tenant, tenant) is False


async def test_fields_expire_and_are_counted(engines: Embedded) -> None:
    profile = make_profile(uuid4(), fields={"city": make_field(expires_at=now())})
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresProfileStore(pool).save_profile(profile)
        done = await invoke("expire", "--json", **urls(engines))
        assert json.loads(done.stdout)["expired"] >= 1, done.stderr
        assert (await invoke("expire", **urls(engines))).stdout == "0 fields expired.\n"
        found = await PostgresProfileStore(pool).get_profile(profile.tenant_id, profile.id)
        assert found is not None
        assert found.fields == {}


async def test_a_file_is_written_whole_or_not_at_all(engines: Embedded, tenant: UUID, tmp_path: Path) -> None:
    trail = tmp_path / "trail.jsonl"
    done = await invoke("audit", "export", tenant, trail, "--json", **urls(engines))
    assert json.loads(done.stdout) == {"records": 2, "file": str(trail)}
    before = trail.read_text()
    nowhere = {"CONVOSTORE_POSTGRES_URL": "postgresql://127.0.0.1:1/x"}
    assert (await invoke("audit", "export", tenant, trail, **nowhere)).exit_code == 1
    assert (trail.read_text(), len([*files_in(tmp_path)])) == (before, 1)


def files_in(directory: Path) -> Iterator[Path]:
    return directory.iterdir()


async def test_progress_is_shown_on_a_terminal_and_nowhere_else(
    engines: Embedded, tenant: UUID, tmp_path: Path
) -> None:
    command = (*MODULE, "audit", "export", str(tenant), str(tmp_path / "trail.jsonl"), "--json")
    reading, terminal = os.openpty()
    with os.fdopen(reading, "rb", buffering=0) as shown:
        environment = {**os.environ, **urls(engines), "TERM": "xterm"}
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=terminal)
        os.close(terminal)
        printed, _ = await process.communicate()
        assert b"Exporting records" in shown.read(1 << 16)
    assert json.loads(printed)["records"] == 2


def test_the_module_is_the_command_line_and_shells_complete_it(run: Run) -> None:
    completed = {"_CONVOSTORE_COMPLETE": "complete_bash", "COMP_WORDS": "convostore inspect se", "COMP_CWORD": "2"}
    assert run(**completed).stdout.split() == ["sessions", "session"]
    assert "_CONVOSTORE_COMPLETE=complete_zsh" in run(_CONVOSTORE_COMPLETE="source_zsh").stdout
    assert run("--help").stdout.split()[:2] == ["Usage:", "convostore"]


async def test_content_cannot_command_the_terminal(engines: Embedded, tenant: UUID) -> None:
    async with await create_pool(engines.postgres_dsn) as pool:
        agent = make_agent(tenant, name="a\x1b]0;owned\x07\x9b2Jb [red]c")
        await PostgresConfigStore(pool).save_agent(agent)
    shown = (await invoke("inspect", "agents", tenant, **urls(engines))).stdout
    assert "a\\x1b]0;owned\\x07\\x9b2Jb [red]c" in shown
    printed = (await invoke("inspect", "agents", tenant, "--json", **urls(engines))).stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(shown + printed)
    assert agent.name in {row["name"] for row in json.loads(printed)["agents"]}
