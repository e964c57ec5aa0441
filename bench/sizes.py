"""`python -m bench.sizes`: bytes per item on the servers, with all indexes, and the resident size of a process."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from bench.data import Vectors
from bench.engines import Engines, open_engines
from bench.methods import slots
from bench.sessions import typical_session
from bench.turn import stores_on
from convostore import Stores
from convostore.redis import RedisSessionStore

_MANY = 2_000
_TURNS = 20
"""Of a session."""
_STORED = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relnamespace = 'convostore'::regnamespace AND relkind IN ('r', 'm')
"""


@dataclass(frozen=True)
class Size:
    """What an item takes, in bytes."""

    item: str
    server: str
    bytes: float


async def items(stores: Stores, redis: RedisSessionStore) -> dict[tuple[str, str], Callable[[int], Awaitable[Any]]]:
    """Return how to store so many of each item, by what it is and where."""
    tenant, agent, customer, vectors = uuid4(), uuid4(), uuid4(), Vectors()

    async def sessions(store: Any, count: int) -> None:
        for _ in range(count):
            await store.save(typical_session(tenant))

    async def episodes(count: int) -> None:
        made = [slots.episode(tenant, agent, customer, uuid4(), vectors) for _ in range(count)]
        await stores.memory.within(60).add_episodes(made)

    async def turns(count: int) -> None:
        for _ in range(0, count, _TURNS):
            session = uuid4()
            made = [slots.turn(tenant, agent, customer, session, number) for number in range(_TURNS)]
            await stores.audit.within(60).save_turns(made)

    async def profiles(count: int) -> None:
        for _ in range(count):
            await stores.profiles.save_profile(slots.profile(tenant))

    return {
        ("session, on Redis alone with indexes", "valkey"): lambda count: sessions(redis, count),
        ("session in two tiers, hot copy", "valkey"): lambda count: sessions(stores.sessions, count),
        ("session in two tiers, row", "postgres"): lambda count: sessions(stores.sessions, count),
        ("episode, 384 dimensions, 55 characters", "postgres"): episodes,
        ("turn, 520 characters, with its chain", "postgres"): turns,
        ("profile, 3 fields, 2 identities, 1 asset", "postgres"): profiles,
    }


async def _used(engines: Engines, server: str) -> int:
    if server == "valkey":
        found = await engines.bare_client.info("memory")
        return int(found["used_memory"])
    await engines.bare_pool.execute("VACUUM ANALYZE")
    return int(await engines.bare_pool.fetchval(_STORED))


async def run() -> list[Size]:
    """Store items and measure what the servers grow by; measure processes."""
    sizes = []
    async with open_engines() as engines:
        stores, redis = stores_on(engines), RedisSessionStore(engines.client)
        for (item, server), store in (await items(stores, redis)).items():
            await store(10)
            before = await _used(engines, server)
            await store(_MANY)
            sizes.append(Size(item, server, (await _used(engines, server) - before) / _MANY))
        await stores.sessions.aclose()  # type: ignore[attr-defined]
    return sizes + [Size(title, "process", await _resident(what)) for what, title in _PROCESSES.items()]


_PROCESSES = {
    "python": "resident: Python alone",
    "import": "resident: with convostore and its dependencies imported",
    "open": "resident: with five stores open on servers of their own, after a call of each",
}


async def _resident(what: str) -> int:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.resident", what, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await child.communicate()
    return int(printed)


def shown(sizes: list[Size]) -> Table:
    """Return the table of the sizes."""
    table = Table("what", "where", title="Bytes", caption=f"Means of {_MANY:,} items; indexes included.")
    table.add_column("bytes", justify="right")
    for size in sizes:
        table.add_row(size.item, size.server, f"{size.bytes:,.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    sizes = asyncio.run(run())
    Console().print(shown(sizes))
    if arguments.json:
        arguments.json.write_text(json.dumps([size.__dict__ for size in sizes], indent=2) + "\n")


if __name__ == "__main__":
    main()
