"""The commands of the page on configurations in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import which
from uuid import uuid4

import pytest

from convostore.embedded import Embedded
from convostore.postgres import PostgresConfigStore, create_pool
from convostore.testing.factories import full_rule, make_agent
from tests.docs.pages import DOCS, titled

SCRIPTS = dict(titled(DOCS / "howto" / "configuration-files.md"))


@pytest.mark.skipif(which("git") is None, reason="the page reviews with git")
async def test_a_configuration_is_exported_reviewed_imported_and_copied(engines: Embedded, tmp_path: Path) -> None:
    tenant, other = uuid4(), uuid4()
    agent = make_agent(tenant, name="desk")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CONVOSTORE_POSTGRES_URL": engines.postgres_dsn,
        "TENANT": str(tenant),
        "OTHER": str(other),
        "AGENT": str(agent.id),
    }

    def run(script: str) -> str:
        command = ["sh", "-euc", script]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async with await create_pool(engines.postgres_dsn) as pool:
        store = PostgresConfigStore(pool)
        await store.save_agent(agent)
        rule = full_rule(tenant, agent.id)
        await store.save_rule(rule)
        run(SCRIPTS["export.sh"])
        run("cd desk && git init -q && git add . && git -c user.name=a -c user.email=b commit -qm first")
        file = tmp_path / "desk" / "agent.json"
        file.write_text(file.read_text("utf-8").replace('"desk"', '"front desk"'))
        assert run(SCRIPTS["import.sh"]).count('+  "name": "front desk"') == 2
        renamed = await store.get_agent(tenant, agent.id)
        assert renamed is not None
        assert renamed.name == "front desk"
        run(SCRIPTS["copy.sh"])
        copied = await store.get_rule(other, rule.id)
        assert copied is not None
        assert copied.embedding == rule.embedding
