"""A database that was filled before Citus came is distributed with all that is in it, also by a run that was killed."""

from __future__ import annotations

import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from dataclasses import dataclass, field
from typing import Any

import pytest

from convostore.call.effects import Effect
from convostore.postgres import create_pool, migrate
from convostore.postgres.database import Database
from convostore.postgres.distributing import distribute
from convostore.postgres.distribution import DISTRIBUTED, REFERENCE
from convostore.testing.isolation.calls import methods_of
from convostore.testing.isolation.contract import answers, contract_of, filled
from convostore.testing.isolation.worlds import Ids, World
from tests.citus.conftest import needs
from tests.cluster.nodes import eventually
from tests.postgres.databases import connected
from tests.postgres.rewriting import stores_on
from tests.postgres.test_distribution import AGENT, TENANT, distributed, fill_everything, rows

needs(__name__, "URL")


@dataclass
class Moved:
    """What is in a database before it is distributed and after.

    Attributes:
        url: of the database.
        worlds: a tenant of each store.
        rows: all that is in each table, at first and at last.
        answers: of every method that reads.
        early: the tables that the process that was killed had distributed.
        late: those that the next one did.
    """

    url: str
    worlds: dict[str, World]
    rows: list[dict[str, list[str]]] = field(default_factory=list)
    answers: list[dict[str, list[Any]]] = field(default_factory=list)
    early: set[str] = field(default_factory=set)
    late: list[str] = field(default_factory=list)

    async def look(self, url: str) -> None:
        """Read everything."""
        async with connected(url) as admin, admin.transaction():
            # Nodes write moments as their own settings say.
            await admin.execute("SET LOCAL timezone = 'UTC'")
            self.rows.append({table: sorted(found) for table, found in (await rows(admin)).items()})
        async with await create_pool(url) as pool:
            stores = stores_on(pool, sessions_by_tenant=await Database(pool).is_distributed())
            found: dict[str, list[Any]] = {}
            for kind, store in stores.items():
                reading = [method for method in methods_of(contract_of(store)) if method.effect is Effect.READ]
                found[kind] = await answers(store, reading, self.worlds[kind])
            memory, config = stores["memory"], stores["config"]
            found["words"] = [
                await memory.text_search_episodes("接龙", TENANT, AGENT),
                await memory.text_search_episodes("ทำ", TENANT, AGENT),
                await memory.find_entities(TENANT, AGENT, name="接龙"),
                await config.search_rules("ทำ", [1.0], TENANT, AGENT),
            ]
        self.answers.append(found)


@pytest.fixture(scope="module")
async def moved(emptied: str) -> Moved:
    """The database: migrated and filled as if no other node was there, then distributed, killed and resumed."""
    alone = f"{emptied}{'&' if '?' in emptied else '?'}citus.enable_ddl_propagation=off"
    await migrate(alone)
    await fill_everything(alone)
    async with await create_pool(alone) as pool:
        moved = Moved(emptied, {kind: await filled(store, Ids()) for kind, store in stores_on(pool).items()})
    await moved.look(alone)
    command = (sys.executable, "-m", "convostore", "migrate", "--citus", "--postgres-url", emptied)
    process = await create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    async with connected(emptied) as admin:

        async def is_under_way() -> bool:
            return process.returncode is not None or len(await distributed(admin)) >= 3

        await eventually(is_under_way, "three tables are distributed", timeout=300)
        if process.returncode is None:
            process.kill()
        output, _ = await process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), output.decode()
        moved.early = await distributed(admin)
    moved.late = await distribute(emptied)
    await moved.look(emptied)
    return moved


async def test_a_run_that_was_killed_is_resumed(moved: Moved) -> None:
    every = {*DISTRIBUTED, *REFERENCE}
    assert moved.early
    assert moved.early.isdisjoint(moved.late)
    async with connected(moved.url) as admin:
        assert await distributed(admin) == every
    assert await distribute(moved.url) == []


@pytest.mark.parametrize("table", sorted({*DISTRIBUTED, *REFERENCE} - {"large_space"}))
async def test_every_row_is_kept(moved: Moved, table: str) -> None:
    before, after = moved.rows
    assert before[table]
    assert after[table] == before[table]


@pytest.mark.parametrize("kind", ["config", "memory", "audit", "profiles", "sessions", "words"])
async def test_every_answer_is_the_same(moved: Moved, kind: str) -> None:
    before, after = moved.answers
    assert before[kind]
    assert all(before["words"])
    for one, other in zip(before[kind], after[kind], strict=True):
        assert other == one
