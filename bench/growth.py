"""`python -m bench.growth`: a turn while the data of other tenants grow to 1, 10 and 100 times one's own.

The tables by hand do not grow: what a turn takes by hand tells how fast the machine is at the moment.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.__main__ import positive
from bench.engines import Engines, open_engines
from bench.harness import Sample, ratio
from bench.turn import Turns, prepared_for, stores_on

TENANTS, CONVERSATIONS, REMEMBERED = 16, 16, 50
TIMES = (1, 10, 100)
_WARM_UP = 2

_TABLES = """
SELECT c.oid::regclass::text AS table, array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attgenerated = ''
WHERE c.relnamespace = 'convostore'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY c.oid HAVING 'tenant_id' = ANY (array_agg(a.attname))
"""


@dataclass(frozen=True)
class Grown:
    """A turn beside so many times as much of other tenants."""

    times: int
    episodes: int
    stores: list[Sample]
    by_hand: list[Sample]

    def ratio(self, figure: str) -> float:
        """Return what the stores take of a figure to what is taken by hand."""
        return ratio(*([getattr(sample, figure) for sample in side] for side in (self.stores, self.by_hand)))


async def multiply(engines: Engines, own: list[Any], first: int, last: int) -> None:
    """Copy all that tenants have to others: the copies from the first to the last."""
    async with engines.bare_pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table, columns in await connection.fetch(_TABLES):
            values = {column: f"t.{column}" for column in columns}
            values["tenant_id"] = "md5(t.tenant_id::text || n)::uuid"
            if table in ("convostore.session", "convostore.session_identity"):
                values["session_id"] = "md5(t.session_id::text || n)::uuid"
            await connection.execute(
                f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "
                f"FROM {table} AS t, generate_series({first}, {last}) AS n WHERE t.tenant_id = ANY ($1)",
                own,
            )
    await engines.bare_pool.execute("VACUUM ANALYZE")


async def run(rounds: int, times: tuple[int, ...]) -> list[Grown]:
    """Measure turns at each size."""
    grown = []
    async with open_engines() as engines:
        stores = stores_on(engines)
        turns = await prepared_for(engines, stores, TENANTS, CONVERSATIONS, REMEMBERED)
        own, copies = [conversation.tenant_id for conversation in turns.conversations], 0
        for wanted in times:
            await multiply(engines, own, copies + 1, wanted)
            copies = wanted
            episodes = await engines.bare_pool.fetchval("SELECT count(*) FROM convostore.episode")
            grown.append(Grown(wanted, episodes, **await _samples(turns, rounds)))
        await stores.sessions.aclose()  # type: ignore[attr-defined]
    return grown


async def _samples(turns: Turns, rounds: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {name: [] for name in ("stores", "by_hand")}
    gc.collect()
    gc.freeze()
    for number in range(_WARM_UP + rounds):
        for name in samples if number % 2 == 0 else reversed(samples):
            sample = await turns.block(name, CONVERSATIONS, 4)
            samples[name] += [sample] if number >= _WARM_UP else []
    gc.unfreeze()
    return samples


def shown(grown: list[Grown]) -> Table:
    """Return the table of the figures."""
    table = Table(title="A turn beside the data of other tenants", caption="Milliseconds, medians; 16 at a time.")
    for heading in ("others", "episodes in all", "client", "× by hand", "server", "× by hand"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in grown:
        row = [f"{each.times} ×", f"{each.episodes:,}"]
        for figure in ("client", "server"):
            row += [
                f"{1e3 * median(getattr(sample, figure) for sample in each.stores):.2f}",
                f"{each.ratio(figure):.2f}",
            ]
        table.add_row(*row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="blocks of each way per size (default: 7)")
    parser.add_argument("--times", type=positive, nargs="+", default=TIMES, help="how much others have (1 10 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    arguments = parser.parse_args()
    grown = asyncio.run(run(arguments.rounds, tuple(arguments.times)))
    Console().print(shown(grown))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in grown], indent=2) + "\n")


if __name__ == "__main__":
    main()
