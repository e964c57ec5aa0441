"""`convostore config`: an agent as files and back, on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from convostore.cli.app import app
from convostore.embedded import Embedded
from convostore.models import Agent
from convostore.postgres import PostgresConfigStore, create_pool
from convostore.testing.factories import (
    full_rule,
    full_scenario,
    full_template,
    full_tool_activation,
    full_variable,
    make_agent,
)

Invoke: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="module")
async def store(engines: Embedded) -> AsyncIterator[PostgresConfigStore]:
    async with await create_pool(engines.postgres_dsn) as pool:
        yield PostgresConfigStore(pool)


@pytest.fixture
async def agent(store: PostgresConfigStore) -> Agent:
    """An agent with a part of each kind, every field of which has a value."""
    agent = make_agent(uuid4(), name="desk")
    await store.save_agent(agent)
    owner = (agent.tenant_id, agent.id)
    await store.save_rule(full_rule(*owner))
    await store.save_scenario(full_scenario(*owner))
    await store.save_template(full_template(*owner))
    await store.save_variable(full_variable(*owner))
    await store.save_tool_activation(full_tool_activation(*owner))
    return agent


@pytest.fixture
def invoke(engines: Embedded) -> Invoke:
    """Run a command on the shared PostgreSQL, in a thread; return its result."""

    async def invoked(*arguments: object) -> Result:
        environment = {"CONVOSTORE_POSTGRES_URL": engines.postgres_dsn}
        command = ["config", *map(str, arguments)]
        return await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)

    return invoked


async def counts(invoke: Invoke, *arguments: object) -> Any:
    """Run a command as a program does; return the counts."""
    result = await invoke(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["counts"]


@pytest.mark.parametrize("options", [[], ["--embeddings"]])
async def test_what_is_exported_is_imported_without_a_change_and_whole_by_another_tenant(
    store: PostgresConfigStore, agent: Agent, invoke: Invoke, tmp_path: Path, options: list[str]
) -> None:
    before = await store.get_agent_config(agent.tenant_id, agent.id)
    assert await counts(invoke, "export", agent.tenant_id, agent.id, tmp_path, *options) == {"written": 6}
    assert await counts(invoke, "export", agent.tenant_id, agent.id, tmp_path, *options) == {"unchanged": 6}
    assert await counts(invoke, "import", agent.tenant_id, tmp_path) == {"unchanged": 6}
    assert await store.get_agent_config(agent.tenant_id, agent.id) == before
    other = uuid4()
    assert await counts(invoke, "import", other, tmp_path) == {"added": 6}
    first = await store.get_agent_config(other, agent.id)
    assert await counts(invoke, "import", other, tmp_path) == {"unchanged": 6}
    assert await store.get_agent_config(other, agent.id) == first
    originals = texts(tmp_path)
    await counts(invoke, "export", other, agent.id, tmp_path / "copy", *options)
    assert texts(tmp_path / "copy") == originals


def texts(directory: Path) -> dict[Path, str]:
    """Return the texts of the files in a directory."""
    return {path.relative_to(directory): path.read_text("utf-8") for path in directory.glob("**/*.json")}


async def test_a_dry_run_shows_a_diff_and_changes_nothing(
    store: PostgresConfigStore, agent: Agent, invoke: Invoke, tmp_path: Path
) -> None:
    await counts(invoke, "export", agent.tenant_id, agent.id, tmp_path)
    path = tmp_path / "agent.json"
    path.write_text(path.read_text("utf-8").replace('"name": "desk"', '"name": "front desk"'))
    before = await store.get_agent_config(agent.tenant_id, agent.id)
    dry = await invoke("import", agent.tenant_id, tmp_path, "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert '-  "name": "desk",\n+  "name": "front desk",\n' in dry.stdout
    (change,) = json.loads((await invoke("import", agent.tenant_id, tmp_path, "--dry-run", "--json")).stdout)["changes"]
    assert (change["what"], change["kind"], change["diff"] in dry.stdout) == ("changed", "agent", True)
    assert await store.get_agent_config(agent.tenant_id, agent.id) == before
    done = await invoke("import", agent.tenant_id, tmp_path)
    assert done.stdout.startswith("changed: agent/front desk\n")
    after = await store.get_agent(agent.tenant_id, agent.id)
    assert after is not None
    assert (after.name, after.revision) == ("front desk", 2)


async def test_deletions_happen_only_when_asked_for(
    store: PostgresConfigStore, agent: Agent, invoke: Invoke, tmp_path: Path
) -> None:
    await counts(invoke, "export", agent.tenant_id, agent.id, tmp_path)
    (rule,) = (path for path in texts(tmp_path) if path.parent.name == "rules")
    (tmp_path / rule).unlink()
    assert await counts(invoke, "import", agent.tenant_id, tmp_path) == {"left": 1, "unchanged": 5}
    assert len(await store.get_rules(agent.tenant_id, agent.id, enabled_only=False)) == 1
    assert await counts(invoke, "import", agent.tenant_id, tmp_path, "--delete") == {"deleted": 1, "unchanged": 5}
    assert await store.get_rules(agent.tenant_id, agent.id, enabled_only=False) == []


async def test_what_cannot_be_written_or_read_is_an_error_in_one_line(
    agent: Agent, invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for arguments, said in (
        (("export", agent.tenant_id, agent.id, tmp_path / "file" / "below"), "Not a directory"),
        (("export", agent.tenant_id, uuid4(), tmp_path), "The tenant has no such agent."),
        (("import", agent.tenant_id, tmp_path), "has no agent.json"),
    ):
        result = await invoke(*arguments)
        assert (result.exit_code > 0, result.stdout) == (True, "")
        assert result.stderr.startswith("convostore: ")
        assert said in result.stderr
