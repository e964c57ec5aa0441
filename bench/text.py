"""`python -m bench.text`: text search at 1,000 to 200,000 episodes of an agent, against any word and `ts_rank` by hand.

All agents are one tenant's; `--others 200` adds as many tenants with 1,000 episodes each. Words are drawn independently
from a Zipf distribution, whose most frequent ones are stop words of English: there are more ties than in real texts.
Queries consist of words drawn alike, those of English agents without stop words, which would be ignored; frequent ones
of three of the eight words that come next. CPU is the server's. With `--home` the data are kept, so that a second run
only measures.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from rich.console import Console
from rich.table import Table

from convostore.embedded import open_embedded
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.pool import decode_vector, encode_vector
from convostore.testing.factories import at, make_episode

FOUND = 10
_WARM_UP = 5
_STOP_WORDS = """
the i to and you a it that is in my of me for this have on with be was are not your at can if we will do so as but from
what there or how when all an been has had they no
"""
_VOCABULARY = 20_000
_OF_EPISODE = 25
"""Words of an episode."""
_WEIGHTS = [*accumulate(1 / (rank + 3) for rank in range(_VOCABULARY))]
_STOPPED = _STOP_WORDS.split()
WORDS = [*_STOPPED, *(f"w{rank}o" for rank in range(len(_STOPPED), _VOCABULARY))]
_FREQUENT = WORDS[len(_STOPPED) : len(_STOPPED) + 8]

BY_HAND = (
    "SELECT id, ts_rank(words, q.any) AS rank FROM convostore.episode, (SELECT to_tsquery($3::regconfig, $4) AS any, "
    "quote_literal(convostore.text_scope($1, $2, NULL))::tsquery AS scope OFFSET 0) AS q "
    "WHERE (tenant_id = $1) IS TRUE AND (agent_id = $2) IS TRUE AND words @@ (q.any && q.scope) "
    f"ORDER BY rank DESC, id LIMIT {FOUND}"
)
"""Any word by the GIN index with the agent's scope lexeme, as a superuser: text search before BM25, joined by OR."""


@dataclass(frozen=True)
class Scope:
    """Whose episodes are searched: an agent, and of its episodes those with these values."""

    title: str
    agent: str
    language: str
    only: dict[str, Any] = field(default_factory=dict)


def identity(*words: object) -> UUID:
    return uuid5(UUID(int=15), " ".join(map(str, words)))


TENANT = identity("tenant")
AGENTS = {
    "1k": ("english", 1_000),
    "20k": ("english", 20_000),
    "200k": ("english", 200_000),
    "1k simple": ("simple", 1_000),
    "20k simple": ("simple", 20_000),
    "200k simple": ("simple", 200_000),
}
_PARTS = {"customer_profile_id": 1_000, "session_id": 20, "group_id": 5_000}
"""How many episodes of an agent one customer, session and group has; a customer's are spread over all times."""


def scopes() -> list[Scope]:
    found = [Scope(f"{size:,} {language}", name, language) for name, (language, size) in AGENTS.items()]
    for name in ("200k", "200k simple"):
        language, size = AGENTS[name]
        found += [
            Scope(f"{column} of {size:,} {language}", name, language, {column: identity(name, column, 3)})
            for column in _PARTS
        ]
    return found


def rows(agent: str, tenant: UUID, language: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield an agent's episodes, oldest first."""
    dice = Random(agent)
    prototype = dict(make_episode(tenant, identity(agent), language=language)) | {"metadata": "{}"}
    for number in range(count):
        yield prototype | {
            "id": UUID(int=dice.getrandbits(128)),
            "content": " ".join(words(dice, _OF_EPISODE)),
            "customer_profile_id": identity(agent, "customer_profile_id", number % -(-count // 1_000)),
            "session_id": identity(agent, "session_id", number // _PARTS["session_id"]),
            "group_id": identity(agent, "group_id", number // _PARTS["group_id"]),
            "recorded_at": at(number),
        }


def words(dice: Random, count: int) -> list[str]:
    return dice.choices(WORDS, cum_weights=_WEIGHTS, k=count)


def queries(language: str, count: int, seed: int) -> dict[str, list[str]]:
    """Return queries by kind."""
    dice = Random(seed)
    stopped = _STOPPED if language == "english" else ()

    def drawn(most: int) -> str:
        found: dict[str, None] = {}
        while len(found) < most:
            found |= dict.fromkeys(word for word in words(dice, _OF_EPISODE) if word not in stopped)
        return " ".join([*found][:most])

    kinds = {f"{most} words": [drawn(most) for _ in range(count)] for most in (3, 10, 20)}
    return kinds | {"frequent": [" ".join(dice.sample(_FREQUENT, 3)) for _ in range(count)]}


async def fill(connection: Any, others: int) -> None:
    """Load the tenant's episodes, and 1,000 of each of so many others, unless they are stored."""
    loads = [(name, TENANT, *of) for name, of in AGENTS.items()]
    loads += [(f"other {number}", identity("other", number), "english", 1_000) for number in range(others)]
    for agent, tenant, language, count in loads:
        exists = "SELECT EXISTS (SELECT FROM convostore.episode WHERE tenant_id = $1 AND agent_id = $2)"
        if not await connection.fetchval(exists, tenant, identity(agent)):
            columns = [*make_episode(tenant, tenant).model_dump()]
            records = (tuple(row[column] for column in columns) for row in rows(agent, tenant, language, count))
            await connection.copy_records_to_table(
                "episode", schema_name="convostore", columns=columns, records=records
            )
    await connection.execute("VACUUM ANALYZE convostore.episode")


@dataclass
class Cost:
    """Seconds of wall clock per call, and of the server's CPU in all."""

    walls: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def __str__(self) -> str:
        return (
            f"{1e3 * self.cpu / len(self.walls):.1f}, {1e3 * median(self.walls):.1f}/"
            f"{1e3 * quantiles(self.walls, n=20)[18]:.1f}"
        )


async def measure(pool: Any, bare: Any, scope: Scope, asked: list[str]) -> tuple[Cost, Cost | None]:
    """Ask every query once in the product and, for a whole agent, once by hand; the first few are not measured."""
    store = PostgresMemoryStore(pool, timeout=60)
    pids = [await connection.fetchval("SELECT pg_backend_pid()") for connection in (pool, bare)]
    costs = (Cost(), Cost())
    for number, query in enumerate(asked):
        for cost, pid in zip(costs, pids, strict=True):
            if cost is costs[1] and scope.only:
                continue
            wall, cpu = time.perf_counter(), _cpu(pid)
            if cost is costs[0]:
                await store.text_search_episodes(query, TENANT, identity(scope.agent), limit=FOUND, **scope.only)
            else:
                words = " | ".join(query.split())
                await bare.fetch(BY_HAND, TENANT, identity(scope.agent), scope.language, words)
            if number >= _WARM_UP:
                cost.walls.append(time.perf_counter() - wall)
                cost.cpu += _cpu(pid) - cpu
    return costs[0], None if scope.only else costs[1]


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process with one thread. Linux only."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def main() -> None:
    arguments = _parser().parse_args()
    shown = Table("episodes", title="CPU of the server, wall clock p50/p95 in ms; of whole agents also by hand")
    asked = {each: queries(each, arguments.queries + _WARM_UP, arguments.seed) for each in ("english", "simple")}
    for kind in asked["english"]:
        shown.add_column(kind, justify="right", no_wrap=True)
    async with open_embedded(arguments.home, ephemeral=arguments.home is None, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        bare = await asyncpg.connect(engines.postgres_dsn, server_settings={"jit": "off"})
        await bare.set_type_codec("vector", encoder=encode_vector, decoder=decode_vector, format="binary")
        await fill(bare, arguments.others)
        async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
            for scope in scopes():
                costs = [await measure(pool, bare, scope, each) for each in asked[scope.language].values()]
                shown.add_row(scope.title, *(str(cost) for cost, _ in costs))
                if not scope.only:
                    shown.add_row("  by hand", *(str(cost) for _, cost in costs), style="dim")
        await bare.close()
    Console(width=150).print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.text", description=__doc__)
    parser.add_argument("--queries", type=int, default=40, help="per kind and scope")
    parser.add_argument("--seed", type=int, default=1, help="of the queries")
    parser.add_argument("--others", type=int, default=0, help="other tenants, with 1,000 episodes each")
    parser.add_argument("--home", type=Path, help="where the data are kept; temporary by default")
    return parser


if __name__ == "__main__":
    asyncio.run(main())
