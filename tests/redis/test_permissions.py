"""A user with no more permissions than docs/howto/clusters.md gives: everything works, and INFO may be missing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import ConnectionError, StoreError
from convostore.redis import RedisSessionStore, check_eviction, create_client
from convostore.redis.client import UNCHECKED_EVICTION
from convostore.redis.connection import Command
from convostore.redis.errors import translated
from convostore.testing import SessionStoreContract
from convostore.testing.factories import make_session

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "clusters.md"


async def grant(client: Any, *rules: str) -> None:
    """Change the permissions of the user."""
    await client.execute_command("ACL", "SETUSER", "app", *rules)


@pytest.fixture
async def restricted(engines: Embedded, client: Redis) -> AsyncIterator[Redis]:
    """A client of the user in the documentation, who may not call INFO."""
    found = re.search(r"ACL SETUSER app (.+)", PAGE.read_text("utf-8"))
    assert found is not None
    rules = found[1].replace("+info", "+select").split()
    await grant(client, *rules)
    async with create_client(f"{engines.redis_url}?db=9&username=app&password=password") as opened:
        yield opened
    await client.acl_deluser("app")


class TestTheContractHoldsForAUserWithTheDocumentedPermissions(SessionStoreContract):
    """The contract suite of sessions, without INFO."""

    @pytest.fixture
    async def store(self, restricted: Redis) -> SessionStore:
        return RedisSessionStore(restricted)


async def test_a_policy_that_cannot_be_checked_is_logged_once(
    restricted: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisSessionStore(restricted)
    for _ in range(3):
        await store.save(make_session(uuid4()))
    assert [record.getMessage() for record in caplog.records] == [UNCHECKED_EVICTION]
    assert caplog.records[0].levelname == "WARNING"
    assert "ACL SETUSER" in UNCHECKED_EVICTION
    assert await check_eviction(restricted) is False


async def test_a_missing_permission_is_named_and_not_retried(client: Redis, restricted: Redis) -> None:
    store = RedisSessionStore(restricted)
    await grant(client, "-zadd")
    with pytest.raises(StoreError, match="permission") as refused:
        await store.save(make_session(uuid4()))
    assert (refused.value.code, refused.value.retryable) == ("NOPERM", False)


async def test_the_check_of_the_policy_applies_nothing_of_the_call(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisSessionStore(client)

    async def lost(_: Sequence[Command]) -> list[Any]:
        raise translated(ConnectionRefusedError())

    monkeypatch.setattr(store._commands._servers, "send", lost)
    with pytest.raises(ConnectionError) as error:
        await store.delete(uuid4())
    assert error.value.outcome == "not_applied"
