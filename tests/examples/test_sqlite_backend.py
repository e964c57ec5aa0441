"""What the contract suite cannot see of the SQLite backend: files, other processes, damage."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from convostore.errors import ConnectionError, StoreError
from convostore.testing.factories import full_agent, make_rule
from examples import sqlite_backend
from examples.sqlite_backend import Database, SqliteConfigStore


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "config.db")


@pytest.fixture
def store(path: str) -> Iterator[SqliteConfigStore]:
    with Database(path) as database:
        yield SqliteConfigStore(database)


async def test_what_is_saved_is_there_when_the_file_is_opened_again(path: str) -> None:
    agent = full_agent(uuid4())
    with Database(path) as database:
        await SqliteConfigStore(database).save_agent(agent)
    with Database(path) as database:
        assert await SqliteConfigStore(database).get_agent(agent.tenant_id, agent.id) == agent


async def test_a_call_that_another_process_keeps_waiting_may_be_repeated(store: SqliteConfigStore, path: str) -> None:
    rule = make_rule(uuid4(), uuid4())
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConnectionError) as caught:
            await store.save_rule(rule)
        assert (caught.value.retryable, caught.value.outcome, caught.value.code) == (True, "not_applied", "SQLITE_BUSY")
        assert not await store.health_check()
        other.execute("ROLLBACK")
    other.close()
    await store.save_rule(rule)
    assert rule.revision == 1
    assert await store.health_check()


async def test_a_damaged_row_is_left_out_of_lists_and_named_where_it_is_asked_for(
    store: SqliteConfigStore, path: str
) -> None:
    tenant, agent = uuid4(), uuid4()
    whole, damaged = make_rule(tenant, agent), make_rule(tenant, agent)
    await store.save_rules([whole, damaged])
    with sqlite3.connect(path) as other:
        other.execute(
            "UPDATE rule SET document = json_set(document, '$.priority', 'high') WHERE id = ?", [str(damaged.id)]
        )
    other.close()
    assert await store.get_rules(tenant, agent) == [whole]
    with pytest.raises(StoreError, match=str(damaged.id)):
        await store.get_rule(tenant, damaged.id)


def test_it_uses_public_names_only() -> None:
    tree = ast.parse(Path(sqlite_backend.__file__).read_text("utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name and name.startswith("convostore")} <= {
        "convostore.backends",
        "convostore.errors",
        "convostore.models",
    }
