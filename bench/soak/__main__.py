"""`python -m bench.soak`: 200 conversations in three processes for five minutes, among faults; then all is read back.

Each turn is a unit of work or single calls, on tenants that all processes share, with coalescing; some reads may be
old, and some deadlines are too short. Every tenth conversation is led by two processes at once. Connections to both
servers are cut, and one process is killed and started again. What each process was told of every write is compared
with what a fresh one finds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from bench.__main__ import positive
from bench.soak.journal import Conversation, Plan
from bench.soak.leading import EMBEDDING
from convostore import Stores, open_stores, postgres
from convostore.embedded import Embedded, open_embedded
from convostore.models import Channel
from convostore.redis import create_client
from convostore.testing.factories import make_agent, make_identity, make_profile, make_rule, make_session
from tests.postgres.databases import connected

CUTS = 10
"""How often connections are cut: two backends of PostgreSQL, and all clients of Valkey."""

_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT 2
) AS chosen
"""


async def conversations(stores: Stores, number: int, tenants: int) -> list[Conversation]:
    """Save agents, one per tenant, and conversations, spread over the tenants."""
    agents = [make_agent(uuid4()) for _ in range(tenants)]
    for agent in agents:
        await stores.config.save_agent(agent)
        rules = [make_rule(agent.tenant_id, agent.id, embedding=EMBEDDING) for _ in range(3)]
        await stores.config.save_rules(rules)
    saved = []
    for n in range(number):
        agent, user = agents[n % tenants], f"user {n}"
        identity = make_identity(channel=Channel.WEBCHAT, channel_user_id=user)
        profile = make_profile(agent.tenant_id, channel_identities=[identity])
        session = make_session(
            agent.tenant_id,
            agent_id=agent.id,
            channel=Channel.WEBCHAT,
            user_channel_id=user,
            customer_profile_id=profile.id,
        )
        await stores.profiles.save_profile(profile)
        await stores.sessions.save(session)
        saved.append(Conversation(n, agent.tenant_id, agent.id, session.session_id, profile.id, user))
    return saved


async def cut_connections(servers: Embedded, every: float) -> int:
    """Cut connections until it is cancelled; return how many of PostgreSQL were cut."""
    cut = 0
    try:
        async with create_client(servers.redis_url) as valkey:
            while True:
                await asyncio.sleep(every)
                async with connected(servers.postgres_dsn) as admin:
                    cut += await admin.fetchval(_CUT)
                await valkey.client_kill_filter(_type="normal", skipme=True)
    except asyncio.CancelledError:
        return cut


async def start(module: str, *arguments: object) -> asyncio.subprocess.Process:
    """Start a process of the soak."""
    command = ["-m", f"bench.soak.{module}", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)


async def opened(leader: asyncio.subprocess.Process) -> None:
    """Wait until a process has opened its stores."""
    assert leader.stdout is not None
    await leader.stdout.readline()


async def run(number: int, tenants: int, processes: int, seconds: float, pause: float) -> dict[str, Any]:
    """Run a soak; return the verdict of the process that read all back (see `reading.Verdict`)."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_embedded(ephemeral=True) as servers:
            await postgres.migrate(servers.postgres_dsn)
            urls: dict[str, Any] = {"postgres_url": servers.postgres_dsn, "redis_url": servers.redis_url}
            async with open_stores(**urls, sweep_every=0) as stores:
                led = await conversations(stores, number, tenants)
            plan, journal = Path(folder, "plan"), Path(folder, "journal")
            # The process that is killed has half of the time, and so has its successor.
            halves = Path(folder, "half")
            Plan(**urls, conversations=led, processes=processes, seconds=seconds, pause=pause).write(plan)
            Plan(**urls, conversations=led, processes=processes, seconds=seconds / 2, pause=pause).write(halves)
            leaders = [await start("leading", plan, journal, n, f"p{n}") for n in range(processes)]
            for leader in leaders:
                await opened(leader)
            cutting = asyncio.create_task(cut_connections(servers, seconds / CUTS))
            await asyncio.sleep(seconds / 2)
            leaders[0].kill()
            leaders.append(await start("leading", halves, journal, 0, "p0 again"))
            codes = [await leader.wait() for leader in leaders]
            cutting.cancel()
            cut = await cutting
            reader = await start("reading", plan, journal)
            answer, _ = await reader.communicate()
    verdict: dict[str, Any] = json.loads(answer)
    if any(codes[1:]):
        verdict["violations"].append(f"a process has failed: {codes}")
    return verdict | {"connections of PostgreSQL that were cut": cut, "processes killed": int(codes[0] < 0)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--conversations", type=positive, default=200)
    parser.add_argument("--tenants", type=positive, default=8)
    parser.add_argument("--processes", type=positive, default=3)
    parser.add_argument("--seconds", type=positive, default=300)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between turns, on average (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict")
    given = parser.parse_args(arguments)
    verdict = asyncio.run(run(given.conversations, given.tenants, given.processes, given.seconds, given.pause))
    Console().print_json(data=verdict)
    if given.json:
        given.json.write_text(json.dumps(verdict, indent=2) + "\n")
    sys.exit(1 if verdict["violations"] else 0)


if __name__ == "__main__":
    main()
