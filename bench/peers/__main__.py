"""`python -m bench.peers`: the same tasks by convostore and by other libraries, each on a database of its own.

Needs the packages of bench/requirements-peers.lock, which `make peers` installs. All libraries run in this process on
the same servers, in blocks that take turns. Round trips are counted by a proxy: how often a request follows a reply, in
one task alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median, median_low
from typing import Literal

from rich.console import Console
from rich.table import Table

from bench.__main__ import positive
from bench.conversations import REMEMBERED, Conversation, given, made
from bench.engines import CONNECTIONS, Engines, open_engines
from bench.harness import Disagreement, Sample, block, ratio
from bench.peers import MESSAGES, Loaded, Peer
from bench.peers.google_adk import GoogleADK
from bench.peers.langgraph import LangGraph
from bench.peers.openai_agents import OpenAIAgents
from bench.peers.ours import Convostore
from bench.turn import CONVERSATIONS, stores_on
from convostore import Stores, postgres
from convostore.redis import create_client
from convostore.testing.faults import proxy_to

TENANTS, CONCURRENT = 64, 16
TASKS = ("turn", "history")
_OPENED: dict[str, Callable[[str], AbstractAsyncContextManager[Peer]]] = {
    "langgraph-checkpoint-postgres": LangGraph.opened,
    "openai-agents": OpenAIAgents.opened,
    "google-adk": GoogleADK.opened,
}
_WARM_UP = 2
_WARM_TRIPS, _TRIPS = 4 * CONNECTIONS, 5


@dataclass(frozen=True)
class Measured:
    """What a library takes for a task, round by round."""

    library: str
    version: str
    task: str
    samples: list[Sample]
    round_trips: int


class Trips:
    """Counts the requests that follow a reply, on every connection."""

    def __init__(self) -> None:
        self.count = 0
        self._last = dict[tuple[str, int], str]()

    def of(self, server: str) -> Callable[[int, Literal["to_server", "to_client"], bytes], None]:
        """Return an observer of the connections of a server."""

        def observe(connection: int, direction: str, _: bytes) -> None:
            if direction == "to_server" and self._last.get((server, connection)) != direction:
                self.count += 1
            self._last[server, connection] = direction

        return observe


async def run(rounds: int, times: int) -> list[Measured]:
    """Measure every library with every task that it can do."""
    measured = []
    async with AsyncExitStack() as opened:
        engines = await opened.enter_async_context(open_engines())
        stores = stores_on(engines)
        conversations = await made(stores, TENANTS, CONVERSATIONS)
        loaded = [await _loaded(stores, conversation) for conversation in conversations]
        peers: dict[str, Peer] = {"convostore": Convostore(stores)}
        for name, open_peer in _OPENED.items():
            peers[name] = await opened.enter_async_context(open_peer(await _database(engines, name)))
        for peer in peers.values():
            await peer.prepare(loaded)
        await engines.bare_pool.execute("VACUUM ANALYZE")
        for task in TASKS:
            able = {name: peer for name, peer in peers.items() if task in peer.tasks}
            samples = await _samples(task, able, conversations, engines.pids, rounds, times)
            for name in able:
                trips = await _round_trips(engines, name, task, conversations[0])
                measured.append(Measured(name, version(name), task, samples[name], trips))
        await stores.sessions.aclose()  # type: ignore[attr-defined]
    return measured


async def _samples(
    task: str,
    peers: dict[str, Peer],
    conversations: Sequence[Conversation],
    pids: tuple[int, ...],
    rounds: int,
    times: int,
) -> dict[str, list[Sample]]:
    async def measured(name: str) -> Sample:
        inputs = [given(c, _counter(name)) for _ in range(times) for c in conversations]
        return await block(peers[name].tasks[task], inputs, CONCURRENT, pids)

    read = {name: await peer.tasks[task](given(conversations[0], _counter(name))) for name, peer in peers.items()}
    if len(set(read.values())) > 1:
        raise Disagreement(f"{task}: other numbers of items are read: {read}")
    for name in peers:
        for _ in range(_WARM_UP):
            await measured(name)
    gc.collect()
    gc.freeze()
    samples: dict[str, list[Sample]] = {name: [] for name in peers}
    for number in range(rounds):
        for name in peers if number % 2 == 0 else reversed(peers):
            samples[name].append(await measured(name))
    gc.unfreeze()
    return samples


def _counter(library: str) -> str:
    return "stores" if library == "convostore" else library


async def _loaded(stores: Stores, c: Conversation) -> Loaded:
    session = await stores.sessions.get(c.session_id)
    profile = await stores.profiles.get_profile(c.tenant_id, c.profile_id)
    config = await stores.config.get_agent_config(c.tenant_id, c.agent_id)
    episodes = await stores.memory.get_episodes(
        c.tenant_id, c.agent_id, customer_profile_id=c.profile_id, limit=REMEMBERED
    )
    assert session is not None
    assert profile is not None
    assert config is not None
    turns = [given(c, "stores").record for _ in range(MESSAGES // 2)]
    return Loaded(c, session, profile, config, episodes, turns)


async def _database(engines: Engines, name: str) -> str:
    """Create a database; return a DSN that every library understands."""
    await engines.bare_pool.execute(f'CREATE DATABASE "{name}"')
    return _dsn(name, str(engines.postgres.parent), 5432)


def _dsn(database: str, host: str, port: int) -> str:
    return f"postgresql://postgres@/{database}?host={host}&port={port}"


async def _round_trips(engines: Engines, name: str, task: str, conversation: Conversation) -> int:
    """Return how often a task waits for a reply, alone: the median of several, with connections that are warm."""
    trips, found = Trips(), []
    async with (
        proxy_to(engines.postgres, observe=trips.of("postgres")) as postgres_proxy,
        proxy_to(engines.valkey, observe=trips.of("valkey")) as valkey_proxy,
        _reopened(engines, name, postgres_proxy.port, valkey_proxy.port) as peer,
    ):
        for _ in range(_WARM_TRIPS + _TRIPS):
            one, trips.count = given(conversation, _counter(name)), 0
            await peer.tasks[task](one)
            found.append(trips.count)
    return median_low(found[_WARM_TRIPS:])


@asynccontextmanager
async def _reopened(engines: Engines, name: str, postgres_port: int, valkey_port: int) -> AsyncIterator[Peer]:
    if name in _OPENED:
        async with _OPENED[name](_dsn(name, "127.0.0.1", postgres_port)) as peer:
            yield peer
        return
    dsn = _dsn("convostore", "127.0.0.1", postgres_port)
    async with (
        await postgres.create_pool(dsn, max_size=1) as pool,
        create_client(f"redis://127.0.0.1:{valkey_port}", max_connections=2) as client,
    ):
        stores = stores_on(replace(engines, pool=pool, client=client))
        yield Convostore(stores)
        await stores.sessions.aclose()  # type: ignore[attr-defined]


def shown(measured: Sequence[Measured], rounds: int) -> Iterator[Table]:
    """Return a table per task."""
    for task in TASKS:
        of_task = [each for each in measured if each.task == task]
        ours = of_task[0].samples
        table = Table(
            title=_TITLES[task],
            caption=f"Milliseconds, medians of {rounds} rounds; × is the median of the rounds' ratios to convostore.",
        )
        for heading in ("", "client", "×", "server", "×", "wall", "×", "round trips"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for each in of_task:
            row = [f"{each.library} {each.version}"]
            for figure in ("client", "server", "wall"):
                theirs, own = ([getattr(sample, figure) for sample in side] for side in (each.samples, ours))
                row += [f"{1e3 * median(theirs):.2f}", f"{ratio(theirs, own):.2f}"]
            table.add_row(*row, str(each.round_trips))
        yield table


_TITLES = {
    "turn": "A whole turn: a session, a profile, 46 parts of a configuration, 5 rules and 5 episodes by vector; "
    "2 episodes, a field, a turn, an event and the session written",
    "history": f"A conversation alone: a session and its last {MESSAGES} messages; 2 messages and the session written",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=7, help="blocks of each library per task (default: 7)")
    parser.add_argument("--times", type=positive, default=2, help="tasks of each conversation per block (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    arguments = parser.parse_args()
    measured = asyncio.run(run(arguments.rounds, arguments.times))
    console = Console()
    for table in shown(measured, arguments.rounds):
        (console if console.is_terminal else Console(width=150)).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in measured], indent=2) + "\n")


if __name__ == "__main__":
    main()
