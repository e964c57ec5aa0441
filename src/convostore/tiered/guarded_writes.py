"""Writes of sessions to the system of record, between placing and releasing the guards of their hot copies.

The protocol, and the proof that no outdated copy is valid: docs/explanation/hot-copies.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from convostore.call.call import current_call
from convostore.domain.sessions import GuardedWrite
from convostore.errors import ConflictError, StoreError
from convostore.models import Session
from convostore.tiered.copies import ANY_REVISION, DELETED, HotCopies
from convostore.tiered.leases import Leases
from convostore.tiered.record import SystemOfRecord
from convostore.tiered.values import Guard

T = TypeVar("T")


@dataclass(frozen=True)
class GuardedWrites:
    """The writes of `TieredSessionStore`. One whose guard cannot be placed invalidates the tenant's copies instead.

    Attributes:
        hot: the hot tier.
        record: the system of record.
        generations: the generations of tenants' copies, as this process knows them.
    """

    hot: HotCopies
    record: SystemOfRecord
    generations: Leases[UUID]

    async def save(self, saves: Sequence[tuple[Session, bool]], write: GuardedWrite) -> None:
        """Run a write of sessions of one tenant, and whether each overwrites.

        A conflict that is not of the first of them says so by its `item`.
        """
        tenant_id, token = saves[0][0].tenant_id, current_call().write_id.hex
        guards = [Guard(session.session_id, tenant_id, token) for session, _ in saves]
        placed = await _all(
            self.hot.guard_write(guard, expected=ANY_REVISION if overwrite else session.revision)
            for guard, (session, overwrite) in zip(guards, saves, strict=True)
        )
        guarded = all(placed)
        released = [each for each, is_placed in enumerate(placed) if is_placed]
        try:
            generation = await write(invalidate_copies=not guarded)
        except ConflictError as conflict:
            method, refused = conflict.item or ("save_session", 0)
            for each in released:
                if (method, refused) == ("save_session", each):
                    await self._report(guards[each], conflict.current_revision or DELETED)
                else:
                    await self.hot.release(guards[each], 0)
            raise
        except StoreError as error:
            for each in released:
                await self._release_unless_unknown(guards[each], error)
            raise
        finally:
            if not guarded:
                # This process reads its own unguarded write at once.
                self.generations.forget(tenant_id)
        await _all(self._report(guards[each], saves[each][0].revision, saves[each][0], generation) for each in released)

    async def delete(self, session_id: UUID, tenant_id: UUID) -> bool:
        """Delete a tenant's session; return whether it was there."""
        guard = Guard(session_id, tenant_id, current_call().write_id.hex)
        guarded = await self.hot.guard_write(guard, expected=ANY_REVISION)
        try:
            deleted = await self.record.remove(session_id, tenant_id, invalidate_copies=not guarded)
        except StoreError as error:
            await self._release_unless_unknown(guard, error)
            raise
        finally:
            if not guarded:
                self.generations.forget(tenant_id)
        if guarded:
            await self._report(guard, DELETED)
        return deleted

    async def delete_old(self, limit: int) -> int:
        """Delete up to `limit` sessions that are older than the record keeps, and report them; return how many."""
        removed = await self.record.remove_old(limit)
        unreported = {
            tenant_id
            for tenant_id, session_id in removed
            if await self.hot.release(Guard(session_id, tenant_id, ""), DELETED) is None
        }
        for tenant_id in unreported:
            await self._invalidate(tenant_id)
        return len(removed)

    async def _release_unless_unknown(self, guard: Guard, error: StoreError) -> None:
        """Release the guard of a write that failed; if its outcome is unknown, the guard stays until it expires."""
        if error.outcome == "not_applied":
            await self.hot.release(guard, 0)

    async def _report(self, guard: Guard, revision: int, copy: Session | None = None, generation: int = 0) -> None:
        """Release a guard before the call returns; if that fails, invalidate the tenant's copies."""
        if await self.hot.release(guard, revision, copy, generation) is None:
            await self._invalidate(guard.tenant_id)

    async def _invalidate(self, tenant_id: UUID) -> None:
        try:
            await self.record.invalidate_copies(tenant_id)
        except StoreError as error:
            # The write itself is committed.
            error.outcome = "unknown"
            raise
        finally:
            self.generations.forget(tenant_id)


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for several calls at a time, and for a single one without a task."""
    waiting = [*calls]
    return [await waiting[0]] if len(waiting) == 1 else await asyncio.gather(*waiting)
