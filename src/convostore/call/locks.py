"""The block of a session's lock: acquired within the deadline, renewed while the block runs, released by its owner."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol
from uuid import UUID, uuid4

from convostore.errors import ConflictError, StoreError

_log = logging.getLogger("convostore.session")

_POLL = 0.05
_RENEWALS = 3
"""How many times a lock is renewed within its time to live: two may fail."""


class LockStore(Protocol):
    """What keeps locks: a lease per session with a fencing token."""

    @property
    def timeout(self) -> float:
        """The deadline of a call, in seconds."""

    async def acquire_lock(
        self, session_id: UUID, owner: UUID, *, ttl: float = 30.0, tenant_id: UUID | None = None
    ) -> int | None:
        """Acquire or renew a lock; see `SessionStore.acquire_lock`."""

    async def release_lock(self, session_id: UUID, owner: UUID, *, tenant_id: UUID | None = None) -> bool:
        """Release a lock; see `SessionStore.release_lock`."""


@asynccontextmanager
async def locked(store: LockStore, session_id: UUID, *, ttl: float, tenant_id: UUID | None) -> AsyncIterator[int]:
    """Hold a session's lock during a block. See `SessionStore.lock`."""
    owner = uuid4()
    token = await _acquired(store, session_id, owner, ttl, tenant_id)
    renewing = asyncio.create_task(_renew(store, session_id, owner, ttl, tenant_id, token))
    try:
        yield token
    finally:
        renewing.cancel()
        with suppress(StoreError):
            await store.release_lock(session_id, owner, tenant_id=tenant_id)


async def _acquired(store: LockStore, session_id: UUID, owner: UUID, ttl: float, tenant_id: UUID | None) -> int:
    deadline = time.monotonic() + store.timeout
    while True:
        token = await store.acquire_lock(session_id, owner, ttl=ttl, tenant_id=tenant_id)
        if token is not None:
            return token
        pause = _POLL * random.uniform(0.5, 1.5)  # noqa: S311
        if time.monotonic() + pause > deadline:
            raise ConflictError("session: another worker holds the lock", retryable=True, code="locked")
        await asyncio.sleep(pause)


async def _renew(
    store: LockStore, session_id: UUID, owner: UUID, ttl: float, tenant_id: UUID | None, token: int
) -> None:
    while True:
        await asyncio.sleep(ttl / _RENEWALS)
        try:
            if await store.acquire_lock(session_id, owner, ttl=ttl, tenant_id=tenant_id) != token:
                _log.warning("lock lost", extra={"store": "session", "entity_id": str(session_id)})
                return
        except StoreError:
            continue  # The store has logged it; the next renewal may still be in time.
