"""`python -m bench.bulk`: `add_episodes` with vectors, against COPY of the same rows into the same table.

COPY runs as a superuser with prepared rows, their search text included: no validation, no policy, no normalisation, and
a duplicate id is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from bench.data import Vectors
from bench.servers import stopwatch
from convostore.domain.declarations import EPISODE
from convostore.embedded import open_embedded
from convostore.models import Episode
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.mapping import RowMapping
from convostore.postgres.pool import decode_vector, encode_vector
from convostore.testing.factories import make_episode

_TEXTS: dict[str, tuple[str, list[str]]] = {
    "ASCII": (" ", [f"word{number}" for number in range(20_000)]),
    "accents": (" ", [f"{'wörd' if number % 3 else 'word'}{number}" for number in range(20_000)]),
    "Han": ("", [chr(0x4E00 + number) + chr(0x4E00 + number * 7 % 3_000) for number in range(3_000)]),
}
"""What joins the words, and the words: 25 make a text."""


@dataclass(frozen=True)
class Taken:
    """The cost of a load, in seconds: wall clock, CPU of this process, CPU of the server."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        return self.client + self.server


def episodes(count: int, text: str) -> list[Episode]:
    """Return episodes of one agent, with 25 words and 384 dimensions, each of another customer and session."""
    tenant, agent, dice, vectors = uuid4(), uuid4(), Random(1), Vectors()
    space, words = _TEXTS[text]
    return [
        make_episode(
            tenant,
            agent,
            content=space.join(dice.choices(words, k=25)),
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
    """Run a load in the server process with this pid. The heap is collected before."""
    gc.collect()
    server, wall, client = stopwatch(pid), time.perf_counter(), time.process_time()
    await load()
    client, wall = time.process_time() - client, time.perf_counter() - wall
    return Taken(wall, client, server())


async def measure(bare: Any, pool: Any, given: list[Episode], count: int) -> list[tuple[Taken, Taken]]:
    """Return what COPY and `add_episodes` took in each round, in alternating order."""
    mapping, store = RowMapping(EPISODE), PostgresMemoryStore(pool, timeout=600)
    rows = [tuple(mapping.parameters(episode)) for episode in given]
    await store.add_episodes(given[:1])
    loads: dict[int, Callable[[], Awaitable[Any]]] = {
        bare.get_server_pid(): lambda: bare.copy_records_to_table(
            "episode", schema_name="convostore", columns=[*mapping.written], records=rows
        ),
        await pool.fetchval("SELECT pg_backend_pid()"): lambda: store.add_episodes(given),
    }
    rounds = []
    # Collections skip the episodes that are given, which are no part of a load.
    gc.collect()
    gc.freeze()
    for number in range(count):
        taken = {}
        for pid in sorted(loads, reverse=number % 2 == 1):
            await bare.execute("TRUNCATE convostore.episode CASCADE")
            await bare.execute("CHECKPOINT")
            taken[pid] = await timed(loads[pid], pid)
        copied, added = (taken[pid] for pid in loads)
        rounds.append((copied, added))
    gc.unfreeze()
    return rounds


async def main() -> None:
    arguments, found = _parser().parse_args(), dict[str, Any]()
    table = Table("text", title=f"{arguments.episodes:,} episodes; medians of {arguments.rounds} rounds")
    for heading in ("COPY s", "add_episodes s", "ratio", "CPU of COPY s", "CPU s", "of it client", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    async with open_embedded(ephemeral=True, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        bare = await asyncpg.connect(engines.postgres_dsn)
        await bare.set_type_codec("vector", encoder=encode_vector, decoder=decode_vector, format="binary")
        async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
            for text in _TEXTS:
                rounds = await measure(bare, pool, episodes(arguments.episodes, text), arguments.rounds)
                wall = [(copied.wall, added.wall) for copied, added in rounds]
                cpu = [(copied.cpu, added.cpu) for copied, added in rounds]
                client = f"{median(added.client for _, added in rounds):.2f}"
                table.add_row(text, *_compared(wall), *_compared(cpu)[:2], client, _compared(cpu)[2])
                found[text] = [{"copy": asdict(copied), "add_episodes": asdict(added)} for copied, added in rounds]
        await bare.close()
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def _compared(rounds: list[tuple[float, float]]) -> tuple[str, str, str]:
    """Return the medians of both sides, and of the ratios: adjacent loads share the load of the machine."""
    copied, added = (median(side) for side in zip(*rounds, strict=True))
    return f"{copied:.2f}", f"{added:.2f}", f"{median(added / copied for copied, added in rounds):.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__)
    parser.add_argument("--episodes", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    return parser


if __name__ == "__main__":
    asyncio.run(main())
