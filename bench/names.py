"""`python -m bench.names`: entities by name at 1,000 to 100,000 of an agent, as many beside; CPU of the server.

Names are a first name of 500, a surname of 20,000 and, of half of them, a company of 2,000; each word is drawn from a
Zipf distribution.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from convostore.embedded import open_embedded
from convostore.models import Entity
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.testing.factories import at, make_entity

SIZES = (1_000, 20_000, 100_000)
_WARM_UP = 10


class Names:
    """Draws names."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self._words = {count: self._vocabulary(count) for count in (500, 20_000, 2_000)}

    def _vocabulary(self, count: int) -> tuple[list[str], list[float]]:
        dice = Random(count)
        letters = (
            "".join(dice.choices("aeiou", k=2)[n] + dice.choices("bcdfghklmnprst")[0] for n in (0, 1))
            for _ in range(count)
        )
        words = [f"{first}{dice.choices('aeiou')[0]}{number:x}" for number, first in enumerate(letters)]
        return words, [*accumulate(1 / rank for rank in range(1, count + 1))]

    def word(self, count: int) -> str:
        words, weights = self._words[count]
        return self._dice.choices(words, cum_weights=weights)[0].capitalize()

    def name(self) -> str:
        words = [self.word(500), self.word(20_000)]
        return " ".join([*words, self.word(2_000)] if self._dice.random() < 0.5 else words)

    def kinds(self, names: list[str], count: int) -> dict[str, list[str]]:
        """Return names to ask for, by kind."""
        whole = self._dice.sample(names, count)
        return {
            "a whole name": whole,
            "a surname": [name.split()[1] for name in whole],
            "the most frequent first name": [self._words[500][0][0]] * count,
            "three letters": [name.split()[1][:3] for name in whole],
            "a name that is not there": [f"Zz{number}" for number in range(count)],
        }


async def add(pool: Any, tenant: UUID, agent: UUID, names: list[str]) -> None:
    """Add an entity for each name."""
    store = PostgresMemoryStore(pool, timeout=120)
    entities: list[Entity] = [make_entity(tenant, agent, name=name, recorded_at=at(n)) for n, name in enumerate(names)]
    for start in range(0, len(entities), 1_000):
        await store.add_entities(entities[start : start + 1_000])


async def measure(pool: Any, tenant: UUID, agent: UUID, asked: list[str]) -> tuple[float, float]:
    """Return the CPU seconds of a search and how many names were found, on average, of at most a hundred."""
    store, pid, found = PostgresMemoryStore(pool, timeout=60), await pool.fetchval("SELECT pg_backend_pid()"), 0
    for name in asked[:_WARM_UP]:
        await store.find_entities(tenant, agent, name=name, limit=100)
    before = _cpu(pid)
    for name in asked:
        found += len(await store.find_entities(tenant, agent, name=name, limit=100))
    return (_cpu(pid) - before) / len(asked), found / len(asked)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.names", description=__doc__)
    parser.add_argument("--queries", type=int, default=60, help="per kind and size")
    arguments = parser.parse_args()
    names, table = Names(1), Table("entities", "asked for", "found, at most 100", "CPU ms of a search")
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
            pid, tenant = await pool.fetchval("SELECT pg_backend_pid()"), uuid4()
            await add(pool, tenant, uuid4(), [names.name() for _ in range(sum(SIZES))])
            for size in SIZES:
                agent, given = uuid4(), [names.name() for _ in range(size)]
                before = _cpu(pid)
                await add(pool, tenant, agent, given)
                table.add_section()
                table.add_row(f"{size:,}", "(to add one)", "", f"{1e3 * (_cpu(pid) - before) / size:.3f}")
                admin = await asyncpg.connect(engines.postgres_dsn)
                await admin.execute("VACUUM ANALYZE convostore.entity")
                await admin.close()
                for kind, asked in names.kinds(given, arguments.queries).items():
                    cpu, found = await measure(pool, tenant, agent, asked)
                    table.add_row(f"{size:,}", kind, f"{found:.1f}", f"{1e3 * cpu:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    asyncio.run(main())
