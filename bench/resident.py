"""Prints the resident size of this process in bytes: `python`, with `import` of convostore, or with stores `open`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4


def resident() -> int:
    """Return the resident size. Linux only."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1_024


async def _opened() -> int:
    from convostore import open_stores

    async with open_stores(backend="engines", ephemeral=True) as stores:
        await stores.sessions.get(uuid4())
        await stores.config.get_agent(uuid4(), uuid4())
        await stores.memory.get_episode(uuid4(), uuid4())
        await stores.audit.get_turn(uuid4(), uuid4())
        await stores.profiles.get_profile(uuid4(), uuid4())
        return resident()


if __name__ == "__main__":
    if sys.argv[1] == "import":
        import convostore.postgres
        import convostore.redis  # noqa: F401
    print(asyncio.run(_opened()) if sys.argv[1] == "open" else resident())
