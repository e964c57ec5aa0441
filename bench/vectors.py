"""`python -m bench.vectors`: recall and time of vector search with skewed tenants, against SQL written by hand.

One tenant has half of the episodes, ten have a quarter, a thousand have the rest. With `--home` the data are kept, so
that a second run only measures.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from pydantic_core import from_json
from rich.console import Console
from rich.table import Table

from convostore.embedded import open_embedded
from convostore.models import Episode
from convostore.postgres import PostgresMemoryStore, create_pool, migrate
from convostore.postgres.pool import decode_vector, encode_vector
from convostore.postgres.reindexing import reindex
from convostore.testing.factories import make_episode

FOUND = 10
START = datetime(2026, 1, 1, tzinfo=UTC)
_CENTRES, _NOISE = 4_000, 1 << 20
_ROUNDING = 1e-6
"""Scores are rounded to six decimals; a smaller difference is a tie."""

COLUMNS = ", ".join(f'e."{name}"' for name in Episode.model_fields)

BY_HAND = {
    "float32": f"SELECT {COLUMNS}, 1 - (embedding <=> $1) AS score FROM convostore.episode AS e WHERE {{where}} "
    f"ORDER BY embedding <=> $1, id LIMIT {FOUND}",
    # Not exact: half precision decides which twenty are reranked.
    "halfvec, then float32": "WITH near AS MATERIALIZED (SELECT id FROM convostore.episode WHERE {where} "
    f"AND dimensions = {{dimensions}} AND dimensions {{covered}} 1280 "
    f"ORDER BY direction <#> (SELECT l2_normalize($1::vector)::halfvec) LIMIT {2 * FOUND}) "
    f"SELECT {COLUMNS}, 1 - (e.embedding <=> $1) AS score FROM near CROSS JOIN LATERAL "
    "(SELECT * FROM convostore.episode AS e WHERE e.tenant_id = '{tenant}' AND e.id = near.id OFFSET 0) AS e "
    f"ORDER BY score DESC, e.id LIMIT {FOUND}",
}
"""SQL by hand on the same table, as a superuser, with literals, which give the planner every value."""


@dataclass(frozen=True)
class Case:
    """A kind of search: its filters, also as SQL."""

    title: str
    tenant: UUID
    filters: dict[str, Any]

    @property
    def where(self) -> str:
        conditions = {"since": "occurred_at >= '{}'", "until": "occurred_at < '{}'"}
        asked = [conditions.get(name, f"{name} = '{{}}'").format(value) for name, value in self.filters.items()]
        return " AND ".join([f"tenant_id = '{self.tenant}'", *asked])


class Tenancy:
    """The owners of the episodes, and the measured searches."""

    def __init__(self, episodes: int, dimensions: int) -> None:
        self.episodes, self.dimensions = episodes, dimensions
        self._space = UUID(int=dimensions)

    def id(self, *words: object) -> UUID:
        return uuid5(self._space, " ".join(map(str, words)))

    def owners(self) -> list[tuple[UUID, UUID, UUID]]:
        """Return tenant, agent and customer of each episode, in the order in which they arrive."""
        half, tenth = self.episodes // 2, self.episodes // 40
        big, first = self.id("big"), self.id("agent0")
        owners = [(big, first, self.id("cust", n % 10)) for n in range(half // 2)]
        owners += [(big, self.id("agent", n % 5 + 1), self.id("cust", n)) for n in range(half // 2, half)]
        owners += [(self.id("mid", t), first, self.id("cust", n % 10)) for t in range(10) for n in range(tenth)]
        owners += [
            (self.id("small", n % 1_000), first, self.id("cust", n % 5)) for n in range(self.episodes - len(owners))
        ]
        Random(1).shuffle(owners)
        return owners

    def cases(self) -> list[Case]:
        agent, customer = {"agent_id": self.id("agent0")}, {"customer_profile_id": self.id("cust", 3)}
        moment = START + timedelta(seconds=self.episodes * 0.4)
        short = {"since": moment, "until": START + timedelta(seconds=self.episodes * 0.6)}
        long = {"since": START + timedelta(seconds=self.episodes * 0.1)}
        big, mid, small = self.id("big"), self.id("mid", 2), self.id("small", 3)
        return [
            Case("big: agent", big, agent),
            Case("big: agent, long window", big, agent | long),
            Case("big: agent, short window", big, agent | short),
            Case("big: another agent", big, {"agent_id": self.id("agent", 2)}),
            Case("big: agent and customer", big, agent | customer),
            Case("big: agent, customer, window", big, agent | customer | short),
            Case("middle: agent", mid, agent),
            Case("middle: agent and customer", mid, agent | customer),
            Case("middle: agent, window", mid, agent | short),
            Case("small: agent", small, agent),
            Case("small: agent and customer", small, agent | customer),
        ]


def vectors(count: int, dimensions: int) -> Iterator[list[float]]:
    """Yield vectors in clusters of skewed size with a common component, as embeddings of texts have."""
    dice = Random(dimensions)
    noise = [dice.gauss(0, 1) for _ in range(_NOISE)]

    def window() -> list[float]:
        start = dice.randrange(_NOISE - dimensions)
        return noise[start : start + dimensions]

    common = [0.33 * value for value in window()]
    centres = [[a + b for a, b in zip(window(), common, strict=True)] for _ in range(_CENTRES)]
    weights = [min(dice.paretovariate(1.0), 50) for _ in centres]
    for centre in dice.choices(centres, weights, k=count):
        spread = dice.uniform(0.5, 1.1)
        yield [a + spread * b for a, b in zip(centre, window(), strict=True)]


async def fill(connection: Any, tenancy: Tenancy) -> None:
    """Load the episodes, unless they are stored."""
    big = tenancy.id("big")
    if await connection.fetchval("SELECT EXISTS (SELECT FROM convostore.episode WHERE tenant_id = $1)", big):
        return
    prototype = dict(
        make_episode(big, big, embedding=[1.0], embedding_model="m", content="x" * 120, language="simple")
    ) | {"metadata": "{}"}
    made = zip(tenancy.owners(), vectors(tenancy.episodes, tenancy.dimensions), strict=True)
    dice = Random(2)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, ((tenant, agent, customer), vector) in enumerate(made):
            moment = START + timedelta(seconds=number)
            changes = {
                "id": UUID(int=dice.getrandbits(128)),
                "tenant_id": tenant,
                "agent_id": agent,
                "customer_profile_id": customer,
                "embedding": vector,
                "occurred_at": moment,
                "recorded_at": moment,
            }
            yield tuple((prototype | changes).values())

    await connection.copy_records_to_table("episode", schema_name="convostore", columns=list(prototype), records=rows())


async def queries(connection: Any, case: Case, dimensions: int, count: int, seed: int) -> list[list[float]]:
    """Return queries near to stored vectors, but not equal to them."""
    dice = Random(seed)
    rows = await connection.fetch(
        f"SELECT embedding FROM convostore.episode WHERE {case.where} AND dimensions = {dimensions} "
        f"ORDER BY md5(id::text || {seed}) LIMIT {count}"
    )
    found = []
    for number in range(count):
        stored = rows[number % len(rows)]["embedding"]
        length = 0.6 * math.sqrt(sum(value * value for value in stored) / dimensions)
        found.append([value + dice.gauss(0, length) for value in stored])
    return found


async def measure(pool: Any, bare: Any, tenancy: Tenancy, count: int, seed: int, table: Table) -> None:
    """Measure every case: recall, and time in alternation with SQL by hand."""
    store = PostgresMemoryStore(pool, timeout=60)
    covered = "<=" if tenancy.dimensions <= 1_280 else ">"
    pids = [await connection.fetchval("SELECT pg_backend_pid()") for connection in (bare, pool)]
    for case in tenancy.cases():
        size = await bare.fetchval(f"SELECT count(*) FROM convostore.episode WHERE {case.where}")
        asked = await queries(bare, case, tenancy.dimensions, count + 10, seed)
        text = {"where": case.where, "dimensions": tenancy.dimensions, "covered": covered, "tenant": case.tenant}
        by_hand = {name: await bare.prepare(statement.format(**text)) for name, statement in BY_HAND.items()}
        filters = {name: value for name, value in case.filters.items() if name != "agent_id"}
        times: dict[str, list[float]] = {way: [] for way in ("store", *by_hand)}
        answers: dict[str, list[list[float]]] = {way: [] for way in times}
        spent = dict.fromkeys(times, 0.0)
        for way in (*times, *times):
            spent[way] -= _cpu(pids[way == "store"])
            for query in asked:
                started = time.perf_counter()
                if way == "store":
                    agent = case.filters["agent_id"]
                    found = await store.vector_search_episodes(
                        query, case.tenant, agent, limit=FOUND, min_score=-1.0, **filters
                    )
                    scores = [score for _, score in found]
                else:
                    rows = await by_hand[way].fetch(query)
                    scores = [row["score"] for row in rows]
                    for row in rows:
                        values = {name: row[name] for name in Episode.model_fields}
                        Episode.model_validate(values | {"metadata": from_json(row["metadata"])})
                times[way].append(time.perf_counter() - started)
                answers[way].append(scores)
            spent[way] += _cpu(pids[way == "store"])
        pairs = list(zip(answers["store"], answers["float32"], strict=True))
        recalls = [sum(score >= true[-1] - _ROUNDING for score in scores) / len(true) for scores, true in pairs]
        # The first ten of each turn warm up connections, plans and buffers.
        measured = {way: [*values[10 : len(asked)], *values[len(asked) + 10 :]] for way, values in times.items()}
        best = min(by_hand, key=lambda way: median(measured[way]))
        each = {way: 1e3 * seconds / len(times[way]) for way, seconds in spent.items()}
        table.add_row(
            case.title,
            f"{size:,}",
            f"{sum(recalls) / len(recalls):.4f}",
            "yes" if all(len(scores) == len(true) for scores, true in pairs) else "NO",
            *(f"{_both(measured[way])} / {each[way]:.1f}" for way in measured),
            f"{median(measured['store']) / median(measured[best]):.2f}",
            f"{each['store'] / each[best]:.2f}" if each[best] else "",
        )


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process, which a busy machine distorts less than wall clock. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _both(seconds: list[float]) -> str:
    return f"{1e3 * median(seconds):.1f} / {1e3 * quantiles(seconds, n=20)[18]:.1f}"


async def main() -> None:
    arguments = _parser().parse_args()
    console, tenancy = Console(), Tenancy(arguments.episodes, arguments.dimensions)
    async with open_embedded(arguments.home, ephemeral=arguments.home is None, valkey=False) as engines:
        await migrate(engines.postgres_dsn)
        bare = await asyncpg.connect(engines.postgres_dsn, server_settings={"jit": "off"})
        await bare.set_type_codec("vector", encoder=encode_vector, decoder=decode_vector, format="binary")
        await fill(bare, tenancy)
        await bare.execute("VACUUM ANALYZE convostore.episode")
        if not arguments.no_index:
            await reindex(engines.postgres_dsn, memory=arguments.memory, workers=arguments.workers)
        headings = (
            "rows",
            f"recall@{FOUND}",
            "all there",
            "store ms",
            *(f"{name} ms" for name in BY_HAND),
            "ratio",
            "of CPU",
        )
        table = Table(
            "case",
            title=f"{arguments.episodes:,} × {arguments.dimensions} dimensions; median / p95 / CPU of the server",
        )
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        async with await create_pool(engines.postgres_dsn, max_size=1) as pool:
            await measure(pool, bare, tenancy, arguments.queries, arguments.seed, table)
        (console if console.is_terminal else Console(width=150)).print(table)
        await bare.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.vectors", description=__doc__)
    parser.add_argument("--episodes", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50, help="per case")
    parser.add_argument("--seed", type=int, default=1, help="of the queries")
    parser.add_argument("--home", type=Path, help="where the data are kept; temporary by default")
    parser.add_argument("--memory", default="1GB", help="maintenance_work_mem of an index build")
    parser.add_argument("--workers", type=int, default=1, help="parallel workers of an index build")
    parser.add_argument("--no-index", action="store_true", help="exact searches only")
    return parser


if __name__ == "__main__":
    asyncio.run(main())
