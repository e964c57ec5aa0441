"""Sessions as this process has last read or written them, for callers that accept a bounded staleness."""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime
from math import inf
from typing import Any, NamedTuple
from uuid import UUID

from convostore.call.call import Call, Proceed
from convostore.domain.declarations import SESSION
from convostore.models import Session

_MOST_BYTES = 1 << 24
"""How many bytes are kept, in documents and what surrounds them."""

_ENTRY_BYTES = 400
"""What an entry takes beside its document."""


class _Kept(NamedTuple):
    """A session as it was read or written, or that it was dropped.

    Attributes:
        known_at: when that was known.
        asked_at: when the call began: the session was current then or later.
        tenant_id: whose it is.
        version: when it was created, and its revision: later ones are higher. None if it was dropped.
        document: the session as JSON.
    """

    known_at: float
    asked_at: float = -inf
    tenant_id: UUID | None = None
    version: tuple[datetime, int] | None = None
    document: bytes = b""


class RecentSessions:
    """Answers `SessionStore.get(max_staleness=…)` from what a store and its twins have read or written.

    It keeps nothing before the first such call. Later answers never go back behind what a caller was given: of calls
    that overlap, the highest revision counts, and what was dropped is not kept by a call that began before.

    Attributes:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self.clock = time.monotonic
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._bytes = 0
        self._wanted = False
        self._forgotten_until = -inf

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Answer a call, or pass it on and learn from its result."""
        oldest = call.arguments.get("max_staleness", 0)
        if oldest and (found := self._recent(call, oldest)):
            return found
        self._wanted = self._wanted or oldest > 0
        if not self._wanted:
            return await proceed(call)
        asked_at, saved = self.clock(), call.arguments.get("session")
        try:
            result = await proceed(call)
        except BaseException:
            if saved is not None:
                self.drop(saved.session_id)
            raise
        finally:
            if call.operation == "delete":
                self.drop(call.arguments["session_id"])
        if saved is not None:
            self._note(saved, asked_at)
        elif call.operation == "get":
            self._note_read(call, result, asked_at)
        elif call.operation == "sweep":
            self._forget_all()
        else:
            self.outdate(*(result if isinstance(result, list | tuple) else (result,)))
        return result

    def drop(self, *session_ids: UUID) -> None:
        """Drop sessions: they were deleted, or may have been written."""
        for session_id in session_ids if self._wanted else ():
            self._keep(session_id, _Kept(self.clock()))

    def outdate(self, *found: Any) -> None:
        """Drop sessions of which a later revision was found."""
        for session in found if self._wanted else ():
            if isinstance(session, Session):
                kept = self._kept.get(session.session_id)
                if kept is None or (kept.version is not None and kept.version < _version(session)):
                    self.drop(session.session_id)

    def _recent(self, call: Call, oldest: float) -> Session | None:
        kept = self._kept.get(call.arguments["session_id"])
        if kept is None or self.clock() - kept.asked_at > oldest or call.tenant_id not in (None, kept.tenant_id):
            return None
        return SESSION.codec.from_document(kept.document, call.arguments["session_id"])

    def _note_read(self, call: Call, found: Session | None, asked_at: float) -> None:
        kept = self._kept.get(call.arguments["session_id"])
        if found is not None:
            self._note(found, asked_at)
        elif kept is not None and kept.known_at <= asked_at and call.tenant_id in (None, kept.tenant_id):
            self.drop(call.arguments["session_id"])

    def _note(self, session: Session, asked_at: float) -> None:
        """Keep a session that a call which began at a moment has read or written, unless a later one is known."""
        kept, version = self._kept.get(session.session_id), _version(session)
        if (
            kept is not None
            and asked_at < kept.known_at
            # Under ids that are unique per tenant alone, another tenant's session may be in the place of a later one.
            and (kept.version is None or version <= kept.version or kept.tenant_id != session.tenant_id)
        ):
            return
        if asked_at <= self._forgotten_until:
            self.drop(session.session_id)
        else:
            document = SESSION.codec.to_document(session)
            self._keep(session.session_id, _Kept(self.clock(), asked_at, session.tenant_id, version, document))

    def _keep(self, session_id: UUID, entry: _Kept) -> None:
        if replaced := self._kept.pop(session_id, None):
            self._bytes -= len(replaced.document) + _ENTRY_BYTES
        self._kept[session_id] = entry
        self._bytes += len(entry.document) + _ENTRY_BYTES
        while self._bytes > _MOST_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.document) + _ENTRY_BYTES
            self._forgotten_until = max(self._forgotten_until, oldest.known_at)

    def _forget_all(self) -> None:
        self._kept.clear()
        self._bytes, self._forgotten_until = 0, self.clock()


def _version(session: Session) -> tuple[datetime, int]:
    return session.created_at, session.revision
