"""Blocks that are no whole program: fragments of Python are run where they stand, and commands are ones that exist."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.main import get_command

from convostore import open_stores
from convostore.cli.app import app
from convostore.embedded import Embedded
from tests.docs.pages import DOCS, ROOT, blocks
from tests.postgres.databases import connected

PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "decisions")]
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LOCKED = "the examples' own packages are locked for development only"


async def run(fragment: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run lines as they would stand in a coroutine, and return the names that there are then."""
    ran = eval(compile(fragment, "fragment", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(ran):
        await ran
    return names


def test_every_block_of_python_parses_and_imports_what_exists() -> None:
    imported = 0
    for page in PAGES:
        for block in blocks(page, "python"):
            tree = compile(block, page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convostore"):
                    exec(compile(ast.Module([node], []), page.name, "exec"), {})
                    imported += 1
    assert imported > 30


async def test_the_search_of_the_page_on_vectors_runs() -> None:
    (search,) = blocks(DOCS / "howto" / "vector-search.md", "python")
    async with open_stores(backend="memory") as stores:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        names = {"stores": stores, "query": [1.0], "tenant": uuid4(), "agent": uuid4(), "customer": uuid4()}
        assert (await run(search, {**names, "january": moment, "now": moment}))["found"] == []


async def test_the_probes_of_the_pages_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fastapi, httpx = (pytest.importorskip(name, reason=LOCKED) for name in ("fastapi", "httpx"))
    monkeypatch.setenv("CONVOSTORE_BACKEND", "memory")
    health, mount, _ = blocks(DOCS / "howto" / "monitoring.md", "python")
    lifespan, _ = blocks(DOCS / "howto" / "fastapi.md", "python")
    preamble = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fastapi import FastAPI
from convostore import open_stores
from convostore.health import app as probes
"""
    names = await run(preamble + lifespan, {})
    service = fastapi.FastAPI(lifespan=names["lifespan"])
    async with service.router.lifespan_context(service):
        await run(health, {"stores": service.state.stores})
        assert capsys.readouterr().out.startswith("memory True None")
        other = fastapi.FastAPI()
        await run(mount, {"api": other, "stores": service.state.stores})
        for each in (service, other):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(each), base_url="http://service") as client:
                assert (await client.get("/probes/livez")).status_code == 200


@pytest.mark.parametrize("page", ["inspect", "poolers", "upgrade-postgresql"])
async def test_what_an_administrator_is_told_to_run_runs(page: str, engines: Embedded) -> None:
    (statements,) = blocks(DOCS / "howto" / f"{page}.md", "sql")
    async with connected(engines.postgres_dsn) as administrator:
        transaction = administrator.transaction()
        await transaction.start()
        await administrator.execute(statements)
        await transaction.rollback()


def commands() -> Iterator[tuple[Path, str]]:
    """Yield every line of a block that runs convostore, with its page; continued lines are one."""
    for page in PAGES:
        for _, language, block in BLOCK.findall(page.read_text("utf-8")):
            if language in ("", "sh", "console"):
                for line in block.replace("\\\n", " ").splitlines():
                    if found := re.match(r"\s*(?:\w+=\S+ )*(convostore .*)", line):
                        yield page, found[1]


def unknown_in(line: str) -> list[str]:
    """Return the words of a command line that its command does not know."""
    words, command = shlex.split(line, comments=True)[1:], get_command(app)
    while words and words[0] in (below := getattr(command, "commands", {})):
        command = below[words.pop(0)]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    wanted = sum(each.param_type_name == "argument" for each in command.params)
    group = [words[0]] if words and not wanted and getattr(command, "commands", {}) and words[0][0] != "-" else []
    return group + [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]


def test_every_command_of_a_page_exists_with_its_options() -> None:
    found = list(commands())
    assert len(found) > 30
    assert [(page.name, line) for page, line in found if unknown_in(line)] == []


def test_a_wrong_command_would_be_noticed() -> None:
    assert unknown_in("convostore audit verify TENANT --all") == ["--all"]
    assert unknown_in("convostore memory forget") == ["forget"]
