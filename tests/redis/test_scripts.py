"""Scripts that the server has lost, and servers that may evict sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.errors import ConflictError, ValidationError
from convostore.models import Session
from convostore.redis import RedisSessionStore, check_eviction
from convostore.testing.factories import full_session
from tests.redis.checking import check


def each_call(store: RedisSessionStore, session: Session) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return one call of each script."""
    return {
        "save": lambda: store.save(session),
        "demote": lambda: store.demote_to_persistent(session.session_id),
        "promote": lambda: store.promote_to_hot(session.session_id),
        "refused": lambda: store.save(session.model_copy(update={"revision": 0})),
        "delete": lambda: store.delete(session.session_id),
    }


async def test_scripts_are_loaded_again_after_script_flush(own_client: Redis) -> None:
    store, session = RedisSessionStore(own_client), full_session(uuid4())
    await store.save(session)
    for name, call in each_call(store, session).items():
        await own_client.script_flush()
        if name == "refused":
            with pytest.raises(ConflictError):
                await call()
        else:
            assert await call()
        await check(own_client)
    assert session.revision == 2


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
async def test_a_server_that_may_evict_sessions_is_refused(own_client: Redis, policy: str) -> None:
    await check_eviction(own_client)
    await own_client.config_set("maxmemory-policy", policy)
    with pytest.raises(ValidationError, match=policy):
        await check_eviction(own_client)
