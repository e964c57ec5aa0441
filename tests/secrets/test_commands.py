"""No command prints content or credentials, whatever is wrong, nor logs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import typer.main
from typer.testing import CliRunner

from convostore.cli.app import app
from convostore.postgres import create_pool
from convostore.testing.isolation.contract import contract_of
from convostore.testing.isolation.worlds import KINDS, Ids, World, made
from tests.postgres.rewriting import stores_on
from tests.secrets.canaries import TOKEN, Planting
from tests.secrets.servers import Servers, wrong
from tests.secrets.watching import Watch, watching

TENANT = uuid4()

WITHOUT_SERVERS = {"demo"}
"""Starts engines of its own, which have no passwords, and replays the packaged sample."""


def embed(texts: list[str]) -> list[list[float]]:
    """Return a vector for each text."""
    return [[1.0, float(len(text)), 0.5] for text in texts]


def commands(tmp_path: Path) -> dict[str, list[str]]:
    """Return arguments for every command."""
    lines = [
        {"kind": "agent", "name": f"{TOKEN} support"},
        {"kind": "conversation", "agent": f"{TOKEN} support", "key": TOKEN, "user": TOKEN, "turns": []},
    ]
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return {
        "replay": [str(file)],
        "migrate": [],
        "migrate status": [],
        "migrate roles": ["--login", "nobody"],
        "sweep": [],
        "purge": ["--days", "36500", "--yes"],
        "expire": [],
        "doctor": ["--timeout", "5"],
        "memory reindex": [],
        "memory re-embed": ["--to", "next", "--embedder", f"{__name__}:embed", "--tenant", str(TENANT)],
        "memory reindex-text": ["--tenant", str(TENANT)],
        "audit verify": [str(TENANT)],
        "audit export": [str(TENANT), str(tmp_path / "export.jsonl")],
        "audit prune": ["1990-01", "--yes"],
        "stats": [str(TENANT)],
        "config export": [str(TENANT), str(TENANT), str(tmp_path)],
        "config import": [str(TENANT), str(tmp_path)],
        "inspect tenants": [],
        "inspect agents": [str(TENANT)],
        "inspect sessions": [str(TENANT), "--agent", str(TENANT)],
        "inspect session": [str(TENANT), str(TENANT)],
        "inspect turns": [str(TENANT), str(TENANT)],
        "inspect timeline": [str(TENANT), str(TENANT)],
        "inspect profiles": [str(TENANT)],
        "inspect profile": [str(TENANT), str(TENANT)],
        "inspect memory": [str(TENANT), str(TENANT), "tea"],
    }


def _walked(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if name and (not getattr(command, "commands", {}) or command.invoke_without_command):
        yield name.strip(), command
    for each, inner in getattr(command, "commands", {}).items():
        yield from _walked(inner, f"{name} {each}")


COMMANDS = dict(_walked(typer.main.get_command(app)))


@pytest.fixture(scope="module")
async def tenant(servers: Servers) -> UUID:
    """A tenant with canaries in what commands read."""
    async with await create_pool(servers.postgres_url, max_size=2) as pool:
        for kind in ("memory", "audit"):
            store = stores_on(pool)[kind]
            planting = store.with_interceptors(Planting(contract_of(store)))
            await KINDS[kind][1](planting, made(World(TENANT, Ids()), kind))
    return TENANT


async def run(watch: Watch, name: str, arguments: list[str], servers: dict[str, str], *, options: bool) -> int:
    """Run a command on servers given by options or by the environment, and search its output; return its exit code."""
    known = {parameter.name for parameter in COMMANDS[name].params}
    given = {url: text for url, text in servers.items() if url in known}
    told = [part for url, text in given.items() for part in (f"--{url.replace('_', '-')}", text)] if options else []
    environment = {f"CONVOSTORE_{url.upper()}": text for url, text in given.items()}
    command = [*name.split(), *arguments, *told]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env={} if options else environment)
    watch.hear("output", result.stdout, name)
    watch.hear("output", result.stderr, name)
    assert isinstance(result.exception, SystemExit | None), name
    return result.exit_code


def test_every_command_is_run(tmp_path: Path) -> None:
    assert commands(tmp_path).keys() == COMMANDS.keys() - WITHOUT_SERVERS


SETUPS = ["right", "wrong passwords", "lost", "malformed"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("setup", SETUPS)
async def test_a_command_prints_no_secret(
    servers: Servers, tenant: UUID, setup: str, tmp_path: Path, trust_facts: dict[str, Any]
) -> None:
    urls = {"postgres_url": servers.postgres_url, "redis_url": servers.redis_url}
    if setup == "wrong passwords":
        urls = {name: wrong(url) for name, url in urls.items()}
    elif setup == "malformed":
        urls = {"postgres_url": f"postgresql://x:{TOKEN}#@h/x", "redis_url": f"redis://x:{TOKEN}#@h/x"}
    targets = [proxy.target for proxy in servers.proxies]
    codes = {}
    with watching() as watch:
        for proxy in servers.proxies if setup == "lost" else ():
            proxy.lead_to(None)
        for name, arguments in commands(tmp_path).items():
            codes[name] = await run(watch, name, arguments, urls, options=setup == "right")
        for proxy, target in zip(servers.proxies, targets, strict=True):
            proxy.lead_to(target)
    assert list(watch.leaks) == []
    if setup == "right":
        assert sorted(name for name, code in codes.items() if code) == [
            *("config export", "config import"),
            *("inspect profile", "inspect session", "inspect timeline"),  # there is none with this id
            *("memory reindex", "migrate roles"),
        ]
    else:
        assert set(codes.values()) <= {1, 2}
    trust_facts[f"secrets: commands, {setup}"] = {**watch.said}
