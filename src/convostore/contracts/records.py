"""The records of the audit store's contract: hash chains, verification, export, and how long bodies stay."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from datetime import date
from functools import partial
from uuid import UUID

from convostore.call.effects import idempotent, non_idempotent
from convostore.call.paging import paginate
from convostore.call.store import Store, checked
from convostore.call.validation import Limit, Offset
from convostore.domain import audit_trail
from convostore.models.audit import AuditAnchor, AuditBody, AuditHead, AuditRecord, AuditVerification
from convostore.models.fields import UtcDatetime


class Records(Store):
    """Records in hash chains, and the months of their bodies, which are part of `AuditStore`."""

    kind = "audit"

    @abstractmethod
    async def list_records(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: AuditRecord | None = None,
    ) -> list[AuditRecord]:
        """Return a tenant's records with their bodies: the tenant's own chain, then those of sessions by id.

        Args:
            tenant_id: the tenant.
            session_id: only the chain of this session.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    def iter_records(self, tenant_id: UUID, *, session_id: UUID | None = None) -> AsyncIterator[AuditRecord]:
        """Yield all of a tenant's records, or those of one session, as `list_records` orders them."""
        return paginate(partial(self.list_records, tenant_id, session_id=session_id))

    @abstractmethod
    async def list_heads(
        self,
        tenant_id: UUID,
        *,
        session_id: UUID | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
        after: AuditHead | None = None,
    ) -> list[AuditHead]:
        """Return the heads of a tenant's chains: its own, then those of sessions by id; empty if there are none.

        Args:
            tenant_id: the tenant.
            session_id: only the chain of this session.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    @abstractmethod
    async def list_bodies(
        self, tenant_id: UUID, *, limit: Limit = 100, offset: Offset = 0, after: AuditBody | None = None
    ) -> list[AuditBody]:
        """Return where a tenant's bodies are kept, by kind, then id, then arrival; empty if there are none.

        Args:
            tenant_id: the tenant.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            after: the cursor of keyset pagination: only items behind this one, stored or not.
        """

    @checked
    async def verify(
        self,
        tenant_id: UUID,
        session_id: UUID | None = None,
        anchor: AuditAnchor | list[AuditAnchor] | None = None,
        *,
        from_anchor: bool = False,
        limit: Limit | None = None,
        after: AuditVerification | None = None,
    ) -> AuditVerification:
        """Verify a session's chain, or all chains of a tenant, with their bodies, up to the first problem.

        Records, heads, bodies and the months noted as dropped must agree. For a tenant or session without any record
        `ok` is False and the problem is `unknown`. Bodies without a record are looked for only if all chains are
        verified from the beginning. It reads page by page, in bounded memory; the deadline is that of a page.

        With a `limit` this is one step of a verification. While `next` of a result is not None, give the result to the
        next step as `after`, with the same arguments otherwise, at once or later in another process; the figures go on
        counting.

        Args:
            tenant_id: the tenant.
            session_id: only the chain of this session.
            anchor: the `head` of an earlier verification, or several, of any of these chains.
            from_anchor: whether a chain is read from its latest anchor on, not from its beginning: only what is new
                since the earlier verification is read.
            limit: the maximum number of records, of heads and of bodies that are read, 1 to 1,000; None for all.
            after: the result of the step before; None begins.

        Raises:
            ValidationError: an anchor, or the place where `after` ended, is not of these chains.
        """
        return await audit_trail.verify(
            self, tenant_id, session_id, anchor, from_anchor=from_anchor, limit=limit, after=after
        )

    def iter_anchors(self, tenant_id: UUID) -> AsyncIterator[AuditAnchor]:
        """Yield the end of every chain of a tenant. Keep them elsewhere, as anchors of later verifications."""
        return audit_trail.anchors_of(self, tenant_id)

    def export(self, tenant_id: UUID, *, session_id: UUID | None = None) -> AsyncIterator[str]:
        """Yield a tenant's records, or those of one session, as lines of JSON that `verify_export.py` verifies.

        The last line says how many there are.
        """
        return audit_trail.exported(self, tenant_id, session_id)

    @abstractmethod
    @idempotent
    async def prepare_months(self) -> int:
        """Create the partitions of this month and the next three; return how many were missing.

        Saving does not depend on it: it creates a missing partition itself. `open_stores` calls it regularly.
        """

    @abstractmethod
    @non_idempotent
    async def drop_bodies(self, *, before: UtcDatetime) -> list[date]:
        """Drop the bodies of all tenants recorded in months that had ended by a moment; return these months.

        A month is that of UTC, returned as its first day. It is closed then: saving something new by a clock that still
        shows it is a `ValidationError`. Records stay, and show whose bodies were dropped. On PostgreSQL this takes a
        pool of the role `convostore_maintenance`.

        Args:
            before: the moment, not in the future.

        Raises:
            ValidationError: the moment lies in the future, or the store is bound to a tenant.
        """
