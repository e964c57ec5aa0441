"""Stores to replay into, and a function that replays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from uuid import UUID

import pytest

from convostore import Stores, open_stores
from convostore.embedded import Embedded
from convostore.replay import Record, Replay, Report

Play = Callable[[Iterable[Record], UUID], Awaitable[Report]]


@pytest.fixture(scope="module", params=["memory", "engines"])
async def stores(request: pytest.FixtureRequest, engines: Embedded) -> AsyncIterator[Stores]:
    given = {"backend": "memory"}
    if request.param == "engines":
        given = {"postgres_url": engines.postgres_dsn, "redis_url": engines.redis_url}
    async with open_stores(**given) as opened:  # type: ignore[arg-type]
        yield opened


@pytest.fixture
def play(stores: Stores) -> Play:
    async def played(records: Iterable[Record], tenant_id: UUID) -> Report:
        listed = list(records)
        return await Replay(stores, tenant_id).play(lambda: listed, lambda record: None)

    return played
