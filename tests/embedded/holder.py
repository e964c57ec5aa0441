"""A process that opens the embedded servers, prints their addresses and pids, and holds its lease until EOF."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from convostore.embedded import open_embedded


async def main() -> None:
    options = json.loads(sys.argv[1])
    home = options.pop("home")
    async with open_embedded(None if home is None else Path(home), **options) as engines:
        facts = {
            "home": str(engines.home),
            "supervisor_pid": engines.supervisor_pid,
            "postgres_pid": engines.postgres_pid,
            "valkey_pid": engines.valkey_pid,
        }
        if options.get("postgres", True):
            facts["postgres_dsn"] = engines.postgres_dsn
        if options.get("valkey", True):
            facts["redis_url"] = engines.redis_url
        print(json.dumps(facts), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
