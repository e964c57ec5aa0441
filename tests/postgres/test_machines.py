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
        async with await create_pool(server.postgres_dsn, max_size=1) as pool:
            yield store(pool, timeout=30, clock=clock)

    check(machine, opened, examples=examples)
