"""A session store whose backend follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

from convostore.call.call import current_call
from convostore.errors import ConnectionError, StoreError
from convostore.inmemory import InMemorySessionStore
from convostore.models import Session

Step: TypeAlias = BaseException | Callable[[], Awaitable[None]] | None


class DriverError(Exception):
    """An error of a driver, whose text must not reach a log."""


class ScriptedSessions(InMemorySessionStore):
    """Each attempt of `get` (a read), `save` (idempotent) or `delete` (non-idempotent) takes one step of the script.

    A step is an error to raise, a function to await, or None to succeed. After the last step, every attempt succeeds.
    """

    def __init__(self, *script: Step, **options: Any) -> None:
        super().__init__(**options)
        self.script = list(script)
        self.attempts = 0
        self.started = asyncio.Event()
        self.write_ids: list[UUID] = []
        self.seen: list[Any] = []

    async def get(
        self, session_id: UUID, *, tenant_id: UUID | None = None, max_staleness: float = 0.0
    ) -> Session | None:
        self.seen.append(tenant_id)
        await self._attempt()
        return None

    async def save(self, session: Session, *, overwrite: bool = False, fence: int | None = None) -> UUID:
        self.seen.append(session)
        await self._attempt()
        session.revision += 1
        return session.session_id

    async def delete(self, session_id: UUID, *, tenant_id: UUID | None = None) -> bool:
        await self._attempt()
        return True

    async def _ping(self) -> None:
        await self._step()

    async def _attempt(self) -> None:
        self.write_ids.append(current_call().write_id)
        await self._step()

    async def _step(self) -> None:
        self.attempts += 1
        self.started.set()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            await step()

    def _translate(self, error: Exception) -> StoreError:
        if isinstance(error, DriverError):
            return ConnectionError("The server is loading.", outcome="not_applied", code="LOADING")
        return super()._translate(error)
