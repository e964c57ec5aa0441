"""The contract of audit stores: verification from an anchor on, and in steps."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from convostore.contracts import AuditStore
from convostore.errors import ValidationError
from convostore.models import AuditAnchor, AuditVerification
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_event, make_turn


async def recorded(store: AuditStore, sessions: int = 3, turns: int = 4) -> tuple[UUID, list[UUID]]:
    """Record sessions of so many turns, and two events of their tenant; return the tenant and the sessions by id."""
    tenant, ids = uuid4(), sorted(uuid4() for _ in range(sessions))
    await store.save_turns([make_turn(tenant, session_id=each, turn_number=n) for each in ids for n in range(turns)])
    await store.save_events([make_event(tenant), make_event(tenant)])
    return tenant, ids


async def anchors_of(store: AuditStore, tenant: UUID) -> list[AuditAnchor]:
    """Return the anchors of a tenant's chains."""
    return [anchor async for anchor in store.iter_anchors(tenant)]


class AuditStepsContract(StoreContract):
    """What an earlier verification has read need not be read again, and a long one is made of short steps."""

    async def test_a_chain_is_read_from_its_anchor_on(self, store: AuditStore) -> None:
        tenant, (first, second, _) = await recorded(store)
        anchors = await anchors_of(store, tenant)
        await store.save_turns([make_turn(tenant, session_id=second, turn_number=n) for n in range(4, 7)])
        await store.save_turn(make_turn(tenant, session_id=(added := uuid4())))
        of_all = await store.verify(tenant, anchor=anchors, from_anchor=True)
        # The record of the second session's anchor and three behind it, and that of the new session.
        assert (of_all.ok, of_all.chains, of_all.records) == (True, 5, 1 + 3 + 1)
        assert of_all.head == anchors[0]
        one = await store.verify(tenant, second, anchors[2], from_anchor=True)
        assert (one.ok, one.chains, one.records) == (True, 1, 4)
        assert one.head == (await store.list_records(tenant, session_id=second))[-1].anchor
        unchanged = await store.verify(tenant, first, anchors[1], from_anchor=True)
        assert (unchanged.ok, unchanged.chains, unchanged.records, unchanged.head) == (True, 1, 0, anchors[1])
        assert (await store.verify(tenant, added, from_anchor=True)).records == 1

    async def test_of_several_anchors_of_a_chain_the_latest_counts(self, store: AuditStore) -> None:
        tenant, (session, *_) = await recorded(store)
        anchors = [record.anchor for record in await store.list_records(tenant, session_id=session)]
        for given in (anchors[:3], anchors[2::-1]):
            assert (await store.verify(tenant, session, given, from_anchor=True)).records == 2

    async def test_a_long_chain_is_not_read_up_to_its_anchor(self, store: AuditStore) -> None:
        tenant, (session, _) = await recorded(store, sessions=2, turns=450)
        anchors = await anchors_of(store, tenant)
        await store.save_turn(make_turn(tenant, session_id=session, turn_number=450))
        read: list[int] = []

        async def count(call, proceed):  # type: ignore[no-untyped-def]
            found = await proceed(call)
            if call.operation == "list_records":
                read.append(len(found))
            return found

        result = await store.with_interceptors(count).verify(tenant, anchor=anchors, from_anchor=True)
        assert (result.ok, result.chains, result.records) == (True, 3, 2)
        assert read == [2]

    async def test_an_anchor_of_another_history_is_found_from_it_on(self, store: AuditStore) -> None:
        tenant, (session, *_) = await recorded(store)
        anchor = (await anchors_of(store, tenant))[1]
        for change, expected in (
            ({"hash": "f" * 64}, ("anchor", session, 4)),
            ({"sequence": 3}, ("anchor", session, 3)),
            ({"sequence": 6}, ("missing", session, 6)),
        ):
            other = anchor.model_copy(update=change)
            for of_session in (None, session):
                problem = (await store.verify(tenant, of_session, other, from_anchor=True)).problem
                assert problem is not None
                assert (problem.reason, problem.session_id, problem.sequence) == expected

    async def test_steps_find_what_one_verification_finds(self, store: AuditStore) -> None:
        tenant, sessions = await recorded(store)
        anchors = await anchors_of(store, tenant)
        await store.save_turn(make_turn(tenant, session_id=sessions[1], turn_number=9))
        for session in (None, sessions[1]):
            known = [anchor for anchor in anchors if session in (None, anchor.session_id)]
            for from_anchor in (False, True):
                for limit in (1, 3, 5, 1_000):
                    result = await store.verify(tenant, session, known, from_anchor=from_anchor, limit=limit)
                    steps = 1
                    while result.next is not None:
                        assert result.ok
                        # As a process finds it that goes on where another ended.
                        kept = AuditVerification.model_validate_json(result.model_dump_json())
                        result = await store.verify(
                            tenant, session, known, from_anchor=from_anchor, limit=limit, after=kept
                        )
                        steps += 1
                    assert result == await store.verify(tenant, session, known, from_anchor=from_anchor)
                    assert result.ok
                    assert steps > 1 or limit >= min(result.records, 5)

    async def test_an_unknown_session_has_no_steps(self, store: AuditStore) -> None:
        result = await store.verify(uuid4(), limit=1)
        assert result.next is None
        assert result.problem is not None
        assert result.problem.reason == "unknown"

    async def test_a_step_of_another_verification_is_refused(self, store: AuditStore) -> None:
        tenant, (session, other, _) = await recorded(store)
        step, complete = await store.verify(tenant, session, limit=1), await store.verify(tenant, session)
        for arguments, after in (((uuid4(), session), step), ((tenant, other), step), ((tenant, session), complete)):
            with pytest.raises(ValidationError, match="after"):
                await store.verify(*arguments, limit=1, after=after)
        for limit in (0, 1_001, True):
            with pytest.raises(ValidationError, match="limit"):
                await store.verify(tenant, limit=limit)
