"""What `open_stores` gives, and what it takes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import assert_type
from uuid import UUID

from convostore import Engine, Health, Stores, open_stores
from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore


async def the_five_stores(tenant_id: UUID) -> None:
    async with open_stores() as stores:
        assert_type(stores, Stores)
        assert_type(stores.sessions, SessionStore)
        assert_type(stores.config, ConfigStore)
        assert_type(stores.memory, MemoryStore)
        assert_type(stores.audit, AuditStore)
        assert_type(stores.profiles, ProfileStore)
        assert_type(stores.for_tenant(tenant_id), Stores)
        assert_type(await stores.health(), Health)
        assert_type(stores.engines.postgres, Engine | None)
        assert_type(await stores.aclose(), None)


def settings(home: Path) -> list[AbstractAsyncContextManager[Stores]]:
    return [
        open_stores(ephemeral=True),
        open_stores(backend="memory", timeout=1, sweep_every=0),
        open_stores(postgres_url="postgresql://localhost", redis_url="redis://localhost", pool_size=20),
        open_stores(postgres_url="postgresql://localhost", pooler="transaction"),
        open_stores(home=home, hot_ttl=60.0, max_age=None),
        open_stores(home="data"),
    ]


async def what_is_refused(stores: Stores) -> None:
    open_stores("memory")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_stores(pooler="statement")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stores(backend="sqlite")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stores(postgres="postgresql://localhost")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with open_stores():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    stores.sessions = stores.sessions  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    stores.for_tenant("acme")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
