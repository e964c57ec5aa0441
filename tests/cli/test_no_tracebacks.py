"""What a user can cause ends in one line and with exit code 1 or 2: no traceback, and nothing ignored at exit."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresAuditStore, PostgresMemoryStore, create_pool
from convostore.testing.factories import make_episode, make_turn
from tests.cli.test_every_command import invoke, said_in_one_line, urls


@pytest.fixture
async def tenant(engines: Embedded) -> UUID:
    """A tenant with a turn, whose text no 7-bit code has, and an episode with an embedding."""
    tenant = uuid4()
    async with await create_pool(engines.postgres_dsn) as pool:
        await PostgresAuditStore(pool).save_turn(make_turn(tenant, session_id=tenant, user_message="Grüße ✓"))
        episode = make_episode(tenant, agent_id=tenant, embedding=[1.0, 0.0], embedding_model="old")
        await PostgresMemoryStore(pool).add_episode(episode)
    return tenant


def no_list(texts: list[str]) -> int:
    return len(texts)


def too_few(texts: list[str]) -> list[list[float]]:
    return []


def no_numbers(texts: list[str]) -> list[str]:
    return texts


def failing(texts: list[str]) -> list[list[float]]:
    raise LookupError(texts[0])


EMBEDDERS = {
    f"{__name__}:no_list": "must return a vector for each text",
    f"{__name__}:too_few": "must return a vector for each text",
    f"{__name__}:no_numbers": "must return a vector for each text",
    f"{__name__}:failing": f"raised LookupError in {Path(__file__).name}, line",
    f"{__name__}:DEVNULL": "cannot be imported as package.module:function",
    "json:nosuch": "cannot be imported as package.module:function",
    "broken:embed": "cannot be imported as package.module:function",
}


@pytest.mark.parametrize("name", EMBEDDERS)
async def test_an_embedder_that_does_not_embed(
    engines: Embedded, tenant: UUID, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("def embed(")
    monkeypatch.chdir(tmp_path)
    for command in (
        ("memory", "re-embed", "--to", "new", "--embedder", name, "--tenant", tenant),
        ("inspect", "memory", tenant, tenant, "tea", "--embedder", name),
    ):
        result = await invoke(*command, **urls(engines))
        assert (result.exit_code, said_in_one_line(result)) == (2, True), result
        assert f"embedder: {name}" in result.stderr
        assert EMBEDDERS[name] in result.stderr


DEEP = "[" * 100_000
FILES: dict[str, tuple[list[str], str]] = {
    "a configuration nested too deeply": (["config", "import", "TENANT", "FOLDER"], "agent.json"),
    "a verification from a device": (["audit", "verify", "TENANT", "--resume", "/dev/zero"], "/dev/zero"),
    "an export to a full disk": (["audit", "export", "TENANT", "/dev/full"], "/dev/full"),
    "anchors on a full disk": (["audit", "verify", "TENANT", "--write-anchors", "/dev/full"], "/dev/full"),
    "a user that is not there": (["migrate", "roles", "--login", "nobody here"], "login"),
    "a user that is no text": (["migrate", "roles", "--login", "\udcff"], "login"),
    "an option of TLS": (["sweep", "--redis-url", "rediss://127.0.0.1:1?ssl_cert_reqs=some"], "redis_url"),
    "a user's home that is not there": (["migrate", "status", "--home", "~nobody-here/home"], "~nobody-here"),
}


@pytest.mark.parametrize("what", FILES)
async def test_what_is_wrong_is_named(engines: Embedded, tenant: UUID, tmp_path: Path, what: str) -> None:
    (tmp_path / "agent.json").write_text(DEEP)
    places = {"TENANT": str(tenant), "FOLDER": str(tmp_path)}
    command, named = FILES[what]
    arguments = [places.get(argument, argument) for argument in command]
    result = await invoke(*arguments, **{} if "--home" in arguments else urls(engines))
    assert (result.exit_code, said_in_one_line(result), named in result.stderr) == (2, True, True), result


STREAMS = {
    "standard output is full": (">/dev/full", 2, "convostore: standard output: No space left on device\n"),
    "standard output is closed": (">&-", 0, ""),
    "nobody reads": ("| true", 1, ""),
    "it has seven bits": ("| cat", 0, ""),
}
PRINTING = {
    "a table": "stats",
    "marks": "doctor --postgres-url postgresql://127.0.0.1:1/x",
    "JSON": "inspect turns TENANT TENANT --reveal --json",
    "lines for programs": "audit export TENANT -",
    "anchors": "audit verify TENANT --write-anchors -",
    "help": "--help",
}


@pytest.mark.parametrize("printing", PRINTING)
@pytest.mark.parametrize("stream", STREAMS)
async def test_standard_output_that_takes_nothing(engines: Embedded, tenant: UUID, printing: str, stream: str) -> None:
    tail, code, expected = STREAMS[stream]
    shell = f'{sys.executable} -m convostore {PRINTING[printing]} {tail}; exit "${{PIPESTATUS[0]}}"'
    environment = {**os.environ, **urls(engines), "PYTHONIOENCODING": "ascii"}
    command = ("bash", "-c", shell.replace("TENANT", str(tenant)))
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    printed, said = (text.decode() for text in await process.communicate())
    assert "Traceback" not in said
    assert "ignored" not in said
    if printing == "marks" and stream != "standard output is full":
        code = 1
    if stream == "standard output is closed" and printing in ("lines for programs", "anchors"):
        code, expected = 2, "convostore: standard output: Bad file descriptor\n"
    assert process.returncode == code, said
    if printing != "anchors":
        assert said == expected
    if stream == "it has seven bits":
        assert printed
        if printing == "JSON":
            assert "Grüße ✓" in json.dumps(json.loads(printed), ensure_ascii=False)
