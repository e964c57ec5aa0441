"""Any sequence of operations has the same answers on PostgreSQL as in the reference."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
    migrate,
)
from convostore.testing.machines import (
    AuditMachine,
    ConfigMachine,
    Machine,
    MemoryMachine,
    ProfileMachine,
    SessionMachine,
    check,
)
from tests.postgres.databases import fresh_database

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("machine", "store", "examples"),
    [
        (ConfigMachine, PostgresConfigStore, 25),
        (MemoryMachine, PostgresMemoryStore, 25),
        (ProfileMachine, PostgresProfileStore, 10),
        (AuditMachine, PostgresAuditStore, 25),
        (SessionMachine, PostgresSessionStore, 25),
    ],
    ids=["config", "memory", "profile", "audit", "session"],
)
def test_any_sequence_of_operations_has_the_same_answers(
    server: Embedded, machine: type[Machine], store: type[Any], examples: int
) -> None:
    @asynccontextmanager
    async def opened(clock: Callable[[], datetime]) -> AsyncIterator[Any]:
        # A database of its own: the machine's clock stands in the past, and other tests sweep old sessions.
        async with fresh_database(server.postgres_dsn) as dsn:
            await migrate(dsn)
            async with await create_pool(dsn, max_size=1) as pool:
                yield store(pool, timeout=30, clock=clock)

    check(machine, opened, examples=examples)
