"""An instance of a release: it saves and reads agents and sessions until its input ends, and prints a line per round.

Arguments: the URLs of both servers, the tenant, and a nickname, which only a release that knows the field is given.
Each line has the nicknames of the agents that it sees, by name, and what it could not do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from uuid import UUID, uuid4

from convostore import open_stores
from convostore.errors import StoreError
from convostore.testing.factories import make_agent, make_session


async def run(postgres_url: str, redis_url: str, tenant: UUID, new: dict[str, str]) -> None:
    """Work until the input ends."""
    async with open_stores(postgres_url=postgres_url, redis_url=redis_url) as stores:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        while not ended.is_set():
            agent = make_agent(tenant, name=f"{uuid4()}", **new)
            session = make_session(tenant, agent_id=agent.id, **new)
            await stores.config.save_agent(agent)
            await stores.sessions.save(session)
            agents, _ = await stores.config.get_agents(tenant, limit=1_000)
            for other in agents[:5]:
                for found in await stores.sessions.list_by_agent(tenant, other.id):
                    same: Any = await stores.sessions.get(found.session_id)
                    assert same.agent_id == other.id
            # All save the oldest agent in turn; who knows the nickname gives it one.
            oldest = min(agents, key=lambda each: each.created_at)
            for name, value in new.items():
                setattr(oldest, name, getattr(oldest, name) or value)
            oldest.description = f"seen {len(agents)}"
            await stores.config.save_agent(oldest, overwrite=True)
            seen = {each.name: getattr(each, "nickname", None) for each in agents}
            print(json.dumps({"agents": seen, "oldest": oldest.name}), flush=True)


if __name__ == "__main__":
    postgres, redis, tenant_id, *nickname = sys.argv[1:]
    try:
        asyncio.run(run(postgres, redis, UUID(tenant_id), dict(zip(["nickname"], nickname, strict=False))))
    except StoreError as error:
        print(json.dumps({"failed": str(error)}), flush=True)
        sys.exit(1)
