"""The contract of audit stores: records, what is hashed, and what verification finds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import AuditStore
from convostore.domain.verify_export import Verifier, check_export
from convostore.errors import ConflictError, ValidationError
from convostore.models import AuditEvent
from convostore.testing.base import StoreContract
from convostore.testing.factories import full_turn, make_event, make_turn

NUMBERS = [0, -1, 10**38 - 1, 2**53 + 1, 0.1, 1.0, -0.0, 1e-7, 5e-324, 1.7976931348623157e308, 2.5e15, True]


def verify_lines(lines: list[str], anchors: Any = ()) -> str | None:
    """Return what the verifier of exports says of lines."""
    problem = check_export(map(json.loads, lines), Verifier(anchors))
    return f"{problem['reason']} {problem.get('sequence')}" if problem else None


class AuditChainContract(StoreContract):
    """One chain per session, one per tenant for events without a session, in the order of arrival."""

    async def test_a_record_follows_another(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        turn, in_session, alone = make_turn(tenant, session_id=session), make_event(tenant), make_event(tenant)
        in_session = in_session.model_copy(update={"session_id": session})
        await store.save_turn(turn)
        await store.save_event(alone)
        await store.save_event(in_session)
        records = await store.list_records(tenant)
        assert [(r.kind, r.record_id, r.session_id, r.turn_number, r.sequence) for r in records] == [
            ("event", alone.id, None, None, 1),
            ("turn", turn.turn_id, session, 0, 1),
            ("event", in_session.id, session, None, 2),
        ]
        assert [r.previous_hash for r in records] == ["0" * 64, "0" * 64, records[1].hash]
        assert await store.list_records(tenant, session_id=session) == records[1:]
        for number, record in enumerate(records):
            assert await store.list_records(tenant, after=record) == records[number + 1 :]
        assert await store.list_records(tenant, session_id=session, after=records[1]) == records[2:]
        assert await store.list_records(tenant, limit=1, offset=1) == [records[1]]
        assert await store.list_records(uuid4()) == []

    async def test_records_stream_over_many_pages_and_chains(self, store: AuditStore) -> None:
        tenant, sessions = uuid4(), [uuid4() for _ in range(3)]
        await store.save_turns([make_turn(tenant, session_id=s, turn_number=n) for s in sessions for n in range(150)])
        await store.save_events([make_event(tenant) for _ in range(250)])
        records = [record async for record in store.iter_records(tenant)]
        expected = [(session, n) for session in (None, *sorted(sessions)) for n in range(1, 151 if session else 251)]
        assert [(record.session_id, record.sequence) for record in records] == expected
        assert len([record async for record in store.iter_records(tenant, session_id=sessions[0])]) == 150

    async def test_what_is_hashed_is_as_documented(self, store: AuditStore) -> None:
        event = AuditEvent(
            id=UUID(int=1),
            tenant_id=uuid4(),
            event_type="noted\n",
            event_data={"b": 10**30, "a": [0.1, 1.0, -0.0, None, 'é😀\x1f"\\/'], "A": {}},
            timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        )
        await store.save_event(event)
        (record,) = await store.list_records(event.tenant_id)
        body = (
            '{"event_data":{"A":{},"a":[0.1,1.0,-0.0,null,"é😀\\u001f\\"\\\\/"],"b":1000000000000000000000000000000},'
            '"event_type":"noted\\n","id":"00000000-0000-0000-0000-000000000001","session_id":null,'
            f'"tenant_id":"{event.tenant_id}","timestamp":"2026-01-02T03:04:05.000000Z","turn_id":null}}'
        )
        assert record.body == body
        assert record.digest == sha256(body.encode()).hexdigest()
        recorded_at = record.recorded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lines = ["convostore audit 1", str(event.tenant_id), "event", str(event.id), "", "", "1", recorded_at]
        assert record.hash == sha256("\n".join([*lines, "0" * 64, record.digest]).encode()).hexdigest()

    async def test_numbers_are_kept_exactly(self, store: AuditStore) -> None:
        tenant = uuid4()
        event = make_event(tenant, event_data={"numbers": NUMBERS})
        await store.save_event(event)
        read = await store.get_event(tenant, event.id)
        assert read is not None
        assert repr(read.event_data) == repr(event.event_data)

    async def test_fifty_saves_at_once_make_one_unbroken_chain(self, store: AuditStore) -> None:
        tenant, session = uuid4(), uuid4()
        turns = [make_turn(tenant, session_id=session, turn_number=number) for number in range(50)]
        await asyncio.gather(*map(store.save_turn, turns))
        records = await store.list_records(tenant, session_id=session)
        assert [record.sequence for record in records] == list(range(1, 51))
        assert (await store.verify(tenant, session)).ok

    async def test_what_is_refused_or_repeated_leaves_no_trace(self, store: AuditStore) -> None:
        turn = make_turn(uuid4())
        await asyncio.gather(*(store.save_turn(turn) for _ in range(10)))
        for wrong in ({"agent_response": "other"}, {"turn_id": uuid4()}):
            with pytest.raises(ConflictError):
                await store.save_turn(turn.model_copy(update=wrong))
        assert [record.sequence for record in await store.list_records(turn.tenant_id)] == [1]


class AuditVerificationContract(StoreContract):
    """Verification, anchors and exports."""

    async def saved(self, store: AuditStore) -> tuple[UUID, UUID]:
        """Return a tenant with two events of its own, and a session of it with five turns."""
        tenant, session = uuid4(), uuid4()
        await store.save_turns([make_turn(tenant, session_id=session, turn_number=n) for n in range(5)])
        await store.save_events([make_event(tenant), make_event(tenant)])
        return tenant, session

    async def test_an_untouched_trail_verifies(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        await store.save_turn(full_turn(tenant))
        result = await store.verify(tenant)
        assert (result.ok, result.chains, result.records, result.bodies) == (True, 3, 8, 8)
        assert result.head == (await store.list_records(tenant))[1].anchor
        result = await store.verify(tenant, session)
        assert (result.ok, result.chains, result.records, result.bodies) == (True, 1, 5, 5)
        assert result.head == (await store.list_records(tenant, session_id=session))[-1].anchor

    async def test_an_unknown_tenant_or_session_is_not_verified(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        unknown = uuid4()
        for of_tenant, of_session in ((uuid4(), None), (uuid4(), session), (tenant, unknown)):
            result = await store.verify(of_tenant, of_session)
            assert (result.ok, result.chains, result.records, result.head) == (False, 0, 0, None)
            assert result.problem is not None
            assert (result.problem.reason, result.problem.session_id) == ("unknown", of_session)
            assert result.problem.sequence is None

    async def test_heads_and_bodies_are_listed_by_keyset(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        full = full_turn(tenant)
        await store.save_turn(full)
        heads = await store.list_heads(tenant)
        expected = [(None, 2), *sorted([(session, 5), (full.session_id, 1)])]
        assert [(head.session_id, head.sequence, head.recorded) for head in heads] == [(s, n, n) for s, n in expected]
        ends = [(anchor.session_id, anchor.hash, anchor.hash) async for anchor in store.iter_anchors(tenant)]
        assert [(head.session_id, head.hash, head.recorded_hash) for head in heads] == ends
        bodies = await store.list_bodies(tenant)
        assert [body.kind for body in bodies] == ["event"] * 2 + ["turn"] * 6
        assert bodies == sorted(bodies, key=lambda body: (body.kind, body.record_id))
        assert {body.record_id for body in bodies} == {r.record_id for r in await store.list_records(tenant)}
        assert {body.recorded for body in bodies} == {True}
        for number, head in enumerate(heads):
            assert await store.list_heads(tenant, after=head) == heads[number + 1 :]
            assert await store.list_heads(tenant, session_id=heads[2].session_id, after=head) == heads[2:][: 2 - number]
        assert await store.list_heads(tenant, session_id=session) == [h for h in heads if h.session_id == session]
        for number, body in enumerate(bodies):
            assert await store.list_bodies(tenant, after=body) == bodies[number + 1 :]
        assert await store.list_heads(tenant, limit=1, offset=1) == heads[1:2]
        assert await store.list_bodies(tenant, limit=1, offset=2) == bodies[2:3]
        assert await store.list_heads(uuid4()) == []
        assert await store.list_bodies(uuid4()) == []

    async def test_an_anchor_of_the_chain_holds_when_it_grew(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        anchors = [anchor async for anchor in store.iter_anchors(tenant)]
        assert [(anchor.session_id, anchor.sequence) for anchor in anchors] == [(None, 2), (session, 5)]
        await store.save_turn(make_turn(tenant, session_id=session, turn_number=5))
        await store.save_event(make_event(tenant))
        assert (await store.verify(tenant, anchor=anchors)).ok
        assert (await store.verify(tenant, anchor=anchors[0])).ok
        assert (await store.verify(tenant, session, anchors[1])).ok

    async def test_an_anchor_of_another_history_is_found(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        *_, anchor = [anchor async for anchor in store.iter_anchors(tenant)]
        for change, expected in (
            ({"hash": "f" * 64}, ("anchor", session, 5)),
            ({"sequence": 4}, ("anchor", session, 4)),
            ({"sequence": 6}, ("missing", session, 6)),
        ):
            for result in (
                await store.verify(tenant, session, anchor.model_copy(update=change)),
                await store.verify(tenant, anchor=anchor.model_copy(update=change)),
            ):
                problem = result.problem
                assert problem is not None
                assert (problem.reason, problem.session_id, problem.sequence) == expected
        lost = anchor.model_copy(update={"session_id": uuid4()})
        problem = (await store.verify(tenant, anchor=[anchor, lost])).problem
        assert problem is not None
        assert (problem.reason, problem.session_id, problem.sequence) == ("missing", lost.session_id, 1)

    async def test_an_anchor_of_other_chains_is_refused(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        own, anchor = [anchor async for anchor in store.iter_anchors(tenant)]
        for arguments in (
            (uuid4(), None, anchor),
            (tenant, uuid4(), anchor),
            (tenant, session, own),
            (tenant, None, 5),
        ):
            with pytest.raises(ValidationError, match="anchor"):
                await store.verify(*arguments)
        with pytest.raises(ValidationError, match="bound"):
            await store.for_tenant(uuid4()).verify(tenant)

    async def test_an_export_is_verified_without_the_store(self, store: AuditStore) -> None:
        tenant, session = await self.saved(store)
        lines = [line async for line in store.export(tenant)]
        assert [json.loads(line)["kind"] for line in lines] == ["event"] * 2 + ["turn"] * 5 + ["end"]
        assert verify_lines(lines) is None
        of_session = [line async for line in store.export(tenant, session_id=session)]
        assert of_session == [*lines[2:-1], '{"kind": "end", "records": 5}']
        assert verify_lines(of_session) is None
        assert verify_lines([line async for line in store.export(uuid4())]) == "unknown None"
        anchors = [json.loads(anchor.model_dump_json()) async for anchor in store.iter_anchors(tenant)]
        assert verify_lines(lines, anchors) is None
        assert verify_lines(lines[:-1]) == verify_lines(lines[:5]) == "miscounted None"
        assert verify_lines([*lines[:5], lines[-1]]) == "miscounted None"
        assert verify_lines([*lines[:6], lines[-1]], anchors) == "missing 5"
        assert verify_lines(lines[:2], anchors) == "missing 1"

    async def test_a_line_of_an_export_that_was_changed_removed_or_moved_is_found(self, store: AuditStore) -> None:
        tenant, _ = await self.saved(store)
        lines = [line async for line in store.export(tenant)]
        record = json.loads(lines[3])

        def with_line(**changes: Any) -> list[str]:
            return [*lines[:3], json.dumps({**record, **changes}), *lines[4:]]

        assert verify_lines([*lines[:3], *lines[4:]]) == "missing 2"
        assert verify_lines([*lines[:3], lines[4], lines[3], *lines[5:]]) == "missing 2"
        assert verify_lines([*lines[:4], lines[3], *lines[4:]]) == "unlinked 2"
        assert verify_lines([*lines[2:7], *lines[:2], lines[7]]) == "unlinked 1"
        assert verify_lines(with_line(body=record["body"].replace("Hello", "Bye"))) == "body_changed 2"
        assert verify_lines(with_line(body=None)) == "body_missing 2"
        assert verify_lines(with_line(misfiled=True)) == "misfiled 2"
        assert verify_lines(with_line(body_dropped=True)) == "retention 2"
        for changes in (
            {"version": 2},
            {"kind": "event"},
            {"record_id": str(uuid4())},
            {"turn_number": 7},
            {"recorded_at": "2026-01-01T00:00:00.000000Z"},
            {"digest": "f" * 64},
            {"hash": "f" * 64},
            {"previous_hash": "f" * 64},
        ):
            assert verify_lines(with_line(**changes)) == "changed 2", changes
