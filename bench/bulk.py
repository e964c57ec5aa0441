"""`python -m bench.bulk`: `add_episodes` with vectors, against COPY of the same rows into the same table.

COPY runs as a superuser with prepared rows: no validation, no policy, and a duplicate id is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from bench.data import Vectors
from convostore.domain.declarations import EPISODE
from convostore.embedded import open_embedded
from convostore.models import Episode
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.mapping import RowMapping
from convostore.postgres.pool import decode_vector, encode_vector
from convostore.testing.factories import make_episode

_WORDS = [f"word{number}" for number in range(20_000)]


@dataclass(frozen=True)
class Taken:
    """The cost of a load, in seconds: wall clock, CPU of this process, CPU of the server."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        return self.client + self.server


def episodes(count: int) -> list[Episode]:
    """Return episodes of one agent, with 25 words and 384 dimensions, each of another customer and session."""
    tenant, agent, dice, vectors = uuid4(), uuid4(), Random(1), Vectors()
    return [
        make_episode(
            tenant,
            agent,
            content=" ".join(dice.choices(_WORDS, k=25)),
            customer_profile_id=uuid4(),
            session_id=uuid4(),
            embedding=vectors.floats(),
            embedding_model="random",
            language="simple",
            metadata={"channel": "web"},
        )
        for _ in range(count)
    ]


async def timed(load: Callable[[], Awaitable[Any]], pid: int) -> Taken:
    """Run a load in the server process with this pid."""
    wall, client, server = time.perf_counter(), time.process_time(), _cpu(pid)
    await load()
    return Taken(time.perf_counter() - wall, time.process_time() - client, _cpu(pid) - server)


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


async def main() -> None:
    arguments = _parser().parse_args()
    given, mapping = episodes(arguments.episodes), RowMapping(EPISODE)
    rows = [tuple(mapping.parameters(episode)) for episode in given]
    table = Table("round", "COPY s", "add_episodes s", "ratio", "CPU of COPY s", "CPU s", "ratio")
    rounds: list[tuple[Taken, Taken]] = []
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        bare = await asyncpg.connect(engines.postgres_dsn)
        await bare.set_type_codec("vector", encoder=encode_vector, decoder=decode_vector, format="binary")
        async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
            store = PostgresMemoryStore(pool, timeout=600)
            await store.add_episodes(given[:1])
            loads: dict[int, Callable[[], Awaitable[Any]]] = {
                bare.get_server_pid(): lambda: bare.copy_records_to_table(
                    "episode", schema_name="convostore", columns=mapping.columns, records=rows
                ),
                await pool.fetchval("SELECT pg_backend_pid()"): lambda: store.add_episodes(given),
            }
            for number in range(arguments.rounds):
                taken = {}
                for pid in sorted(loads, reverse=number % 2 == 1):
                    await bare.execute("TRUNCATE convostore.episode CASCADE")
                    await bare.execute("CHECKPOINT")
                    taken[pid] = await timed(loads[pid], pid)
                copied, added = (taken[pid] for pid in loads)
                rounds.append((copied, added))
                table.add_row(str(number + 1), *_compared(copied.wall, added.wall), *_compared(copied.cpu, added.cpu))
        await bare.close()
    table.title = (
        f"{arguments.episodes:,} episodes; median ratio "
        f"{median(added.wall / copied.wall for copied, added in rounds):.2f} of wall clock, "
        f"{median(added.cpu / copied.cpu for copied, added in rounds):.2f} of CPU"
    )
    Console(width=100).print(table)


def _compared(copied: float, added: float) -> tuple[str, str, str]:
    return f"{copied:.2f}", f"{added:.2f}", f"{added / copied:.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__)
    parser.add_argument("--episodes", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    return parser


if __name__ == "__main__":
    asyncio.run(main())
