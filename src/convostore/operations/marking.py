"""Which turns of a session are as they were recorded."""

from __future__ import annotations

from typing import Literal, TypeAlias
from uuid import UUID

from convostore.contracts import AuditStore
from convostore.models import AuditVerification

__all__ = ["Mark", "Marks", "marked"]

Mark: TypeAlias = Literal["verified", "broken", "unverified"]
"""Of a turn: as it was recorded, the first problem of its chain, or behind that."""


class Marks:
    """The marks of a session's turns.

    Attributes:
        result: the verification of the session's chain.
    """

    def __init__(self, result: AuditVerification, intact: set[UUID]) -> None:
        self.result = result
        self._intact = intact

    def of(self, turn_id: UUID) -> Mark:
        """Return the mark of a turn."""
        problem = self.result.problem
        if problem is None or turn_id in self._intact:
            return "verified"
        return "broken" if problem.record_id == turn_id else "unverified"


async def marked(audit: AuditStore, tenant_id: UUID, session_id: UUID) -> Marks:
    """Verify a session's chain, and return which of its turns that proves to be as they were recorded.

    Raises:
        StoreError: the store fails.
    """
    result, intact = await audit.verify(tenant_id, session_id), set[UUID]()
    if result.problem is not None and result.problem.sequence is not None:
        async for record in audit.iter_records(tenant_id, session_id=session_id):
            if record.sequence >= result.problem.sequence:
                break
            intact.add(record.record_id)
    return Marks(result, intact)
