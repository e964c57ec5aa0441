"""What an administrator did with triggers switched off is found by `verify`, which names the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.models import AuditProblem, TurnRecord
from convostore.postgres import PostgresAuditStore
from convostore.testing.audit.retention import on
from convostore.testing.factories import make_event, make_turn
from tests.postgres.databases import connected

RECORDS = "convostore.audit_record"
BODIES = "convostore.audit_body"
HEADS = "convostore.audit_head"
HASHED = "version, tenant_id, kind, record_id, session_id, turn_number, sequence, recorded_at, previous_hash, digest"


@dataclass
class Trail:
    """A tenant with a session of six turns and two events of its own, and an administrator who is at it."""

    store: PostgresAuditStore
    admin: Any
    tenant: UUID = field(default_factory=uuid4)
    session: UUID = field(default_factory=uuid4)
    turns: list[TurnRecord] = field(default_factory=list)

    async def fill(self) -> None:
        """Record it."""
        self.turns = [make_turn(self.tenant, session_id=self.session, turn_number=n) for n in range(6)]
        await self.store.save_turns(self.turns)
        await self.store.save_events([make_event(self.tenant), make_event(self.tenant)])

    async def alter(self, statement: str) -> None:
        """Run a statement on this tenant's rows with all triggers off; `{at}` is the record of the third turn."""
        place = f"session_id = '{self.session}' AND sequence = 3"
        statement = statement.format(at=place, turn=f"record_id = '{self.turns[2].turn_id}'")
        async with self.admin.transaction():
            for table in (RECORDS, BODIES):
                await self.admin.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            done = await self.admin.execute(f"{statement} AND tenant_id = '{self.tenant}'")
            assert int(done.split()[-1]) > 0
            for table in (RECORDS, BODIES):
                await self.admin.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER is_append_only")

    async def found(self, anchor: Any = None) -> AuditProblem | None:
        """Return what `verify` finds, which is the same for the session and for the tenant."""
        of_all = (await self.store.verify(self.tenant, anchor=anchor)).problem
        of_session = (await self.store.verify(self.tenant, self.session, anchor)).problem
        assert of_all == of_session
        return of_all

    async def recompute(self) -> None:
        """Compute the session's whole chain anew, heads too."""
        for sequence in range(1, 7):
            where = f"session_id = '{self.session}' AND sequence = {sequence}"
            before = f"SELECT hash FROM {RECORDS} WHERE session_id = '{self.session}' AND sequence = {sequence - 1}"
            if sequence > 1:
                await self.alter(f"UPDATE {RECORDS} SET previous_hash = ({before}) WHERE {where}")
            await self.alter(f"UPDATE {RECORDS} SET hash = convostore.audit_hash({HASHED}) WHERE {where}")
        head = f"SELECT hash FROM {RECORDS} WHERE session_id = '{self.session}' ORDER BY sequence DESC LIMIT 1"
        await self.alter(f"UPDATE {HEADS} SET hash = ({head}) WHERE chain = '{self.session}'")


@pytest.fixture
async def trail(server: Embedded, pool: asyncpg.Pool[Any]) -> AsyncIterator[Trail]:
    """A trail that nobody touched yet, in a month of its own: changes lock its tables."""
    async with connected(server.postgres_dsn) as admin:
        made = Trail(on(PostgresAuditStore(pool), 2001, 7), admin)
        await made.fill()
        assert await made.found() is None
        yield made


ALTERATIONS: dict[str, tuple[str, str]] = {
    # what: the reason that verify gives for the third record, and how it is done
    "a changed text": (
        "body_changed",
        f"UPDATE {BODIES} SET content = replace(convert_from(content, 'UTF8'), 'Hello', 'Bye')::bytea WHERE {{turn}}",
    ),
    "a body that is no text": ("body_changed", f"UPDATE {BODIES} SET content = '\\xff' WHERE {{turn}}"),
    "another digest": ("changed", f"UPDATE {RECORDS} SET digest = sha256('') WHERE {{at}}"),
    "another time of arrival": (
        "changed",
        f"UPDATE {RECORDS} SET recorded_at = recorded_at + interval '1 microsecond' WHERE {{at}}",
    ),
    "another number": ("changed", f"UPDATE {RECORDS} SET turn_number = 77 WHERE {{at}}"),
    "another id": ("changed", f"UPDATE {RECORDS} SET record_id = gen_random_uuid() WHERE {{at}}"),
    "another version": ("changed", f"UPDATE {RECORDS} SET version = 2 WHERE {{at}}"),
    "a removed record": ("missing", f"DELETE FROM {RECORDS} WHERE {{at}}"),
    "removed records at the end": ("missing", f"DELETE FROM {RECORDS} WHERE sequence >= 3 AND session_id IS NOT NULL"),
    "a removed body": ("body_missing", f"DELETE FROM {BODIES} WHERE {{turn}}"),
    "a body in another list": ("misfiled", f"UPDATE {BODIES} SET session_id = gen_random_uuid() WHERE {{turn}}"),
    "a body of another customer": (
        "misfiled",
        f"UPDATE {BODIES} SET customer_profile_id = gen_random_uuid() WHERE {{turn}}",
    ),
    "a body at another time": ("misfiled", f'UPDATE {BODIES} SET "timestamp" = now() WHERE {{turn}}'),
}


@pytest.mark.parametrize("what", ALTERATIONS)
async def test_an_alteration_is_detected_and_named(trail: Trail, what: str) -> None:
    reason, statement = ALTERATIONS[what]
    await trail.alter(statement)
    problem = await trail.found()
    assert problem is not None
    assert (problem.reason, problem.session_id) == (reason, trail.session)
    assert problem.sequence == 3
    if reason != "missing" and what != "another id":
        assert (problem.kind, problem.record_id) == ("turn", trail.turns[2].turn_id)


async def test_two_swapped_records_are_detected(trail: Trail) -> None:
    for one, other in ((3, -1), (4, 3), (-1, 4)):
        where = f"session_id = '{trail.session}' AND sequence = {one}"
        await trail.alter(f"UPDATE {RECORDS} SET sequence = {other} WHERE {where}")
    problem = await trail.found()
    assert problem is not None
    assert (problem.reason, problem.sequence, problem.record_id) == ("changed", 3, trail.turns[3].turn_id)


async def test_a_recomputed_hash_breaks_the_link_to_the_next_record(trail: Trail) -> None:
    await trail.alter(f"UPDATE {RECORDS} SET turn_number = 77 WHERE {{at}}")
    await trail.alter(f"UPDATE {RECORDS} SET hash = convostore.audit_hash({HASHED}) WHERE {{at}}")
    problem = await trail.found()
    assert problem is not None
    assert (problem.reason, problem.sequence, problem.record_id) == ("unlinked", 4, trail.turns[3].turn_id)


async def test_a_recomputed_chain_is_detected_by_its_anchor(trail: Trail) -> None:
    anchor = (await trail.store.verify(trail.tenant, trail.session)).head
    body = "replace(convert_from(content, 'UTF8'), 'Hello', 'Bye')::bytea"
    await trail.alter(f"UPDATE {BODIES} SET content = {body} WHERE {{turn}}")
    digest = f"SELECT sha256(content) FROM {BODIES} WHERE {{turn}}"
    await trail.alter(f"UPDATE {RECORDS} SET digest = ({digest}) WHERE {{at}}")
    await trail.recompute()
    assert await trail.found() is None
    problem = await trail.found(anchor)
    assert problem is not None
    assert (problem.reason, problem.session_id, problem.sequence) == ("anchor", trail.session, 6)


@pytest.mark.parametrize("what", ALTERATIONS)
async def test_what_an_anchor_covers_is_not_read_again_and_what_follows_it_is(trail: Trail, what: str) -> None:
    reason, statement = ALTERATIONS[what]
    *_, second, _, _, _, last = [record.anchor async for record in trail.store.iter_records(trail.tenant)]
    await trail.alter(statement)
    for session in (None, trail.session):
        problem = (await trail.store.verify(trail.tenant, session, second, from_anchor=True)).problem
        assert problem is not None
        assert (problem.reason, problem.sequence) == (reason, 3)
        covered = (await trail.store.verify(trail.tenant, session, last, from_anchor=True)).problem
        gone = ("missing", 6) if what == "removed records at the end" else None
        assert (covered and (covered.reason, covered.sequence)) == gone


async def test_a_chain_truncated_with_its_head_is_detected_by_its_anchor(trail: Trail) -> None:
    anchor = (await trail.store.verify(trail.tenant, trail.session)).head
    for table, where in ((BODIES, "kind = 'turn'"), (RECORDS, "kind = 'turn'"), (HEADS, "chain <> ''")):
        await trail.alter(f"DELETE FROM {table} WHERE {where}")
    assert (await trail.store.verify(trail.tenant)).ok
    of_session = (await trail.store.verify(trail.tenant, trail.session)).problem
    assert of_session is not None
    assert of_session.reason == "unknown"
    problem = await trail.found(anchor)
    assert problem is not None
    assert (problem.reason, problem.session_id, problem.sequence) == ("missing", trail.session, 1)


async def test_a_removed_chain_is_detected_by_its_head_and_its_bodies(trail: Trail) -> None:
    await trail.alter(f"DELETE FROM {RECORDS} WHERE kind = 'turn'")
    problem = await trail.found()
    assert problem is not None
    assert (problem.reason, problem.session_id, problem.sequence) == ("missing", trail.session, 1)
    await trail.alter(f"DELETE FROM {HEADS} WHERE chain <> ''")
    problem = (await trail.store.verify(trail.tenant)).problem
    assert problem is not None
    assert (problem.reason, problem.session_id, problem.kind) == ("unrecorded", trail.session, "turn")
    assert problem.record_id in {turn.turn_id for turn in trail.turns}


async def test_a_detached_or_dropped_partition_is_detected(trail: Trail) -> None:
    old = on(trail.store, 2002, 9)
    turn = make_turn(trail.tenant, session_id=trail.session, turn_number=6)
    await old.save_turn(turn)
    for done in ("ALTER TABLE convostore.audit_body DETACH PARTITION {}", "DROP TABLE {}"):
        await trail.admin.execute(done.format("convostore.audit_body_2002_09"))
        problem = await trail.found()
        assert problem is not None
        assert (problem.reason, problem.sequence, problem.record_id) == ("body_missing", 7, turn.turn_id)


COVERED_HEADS = {
    "set back": f"UPDATE {HEADS} SET sequence = 2 WHERE chain <> ''",
    "set to nothing": f"UPDATE {HEADS} SET sequence = 0, hash = sha256('') WHERE chain <> ''",
    "changed": f"UPDATE {HEADS} SET hash = sha256('') WHERE chain <> ''",
    "removed": f"DELETE FROM {HEADS} WHERE chain <> ''",
    "given to another chain": f"UPDATE {HEADS} SET chain = 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE chain <> ''",
}


@pytest.mark.parametrize("what", COVERED_HEADS)
async def test_a_head_that_contradicts_its_records_is_detected_and_restored_by_the_next_save(
    trail: Trail, what: str
) -> None:
    await trail.alter(COVERED_HEADS[what])
    problem = await trail.found()
    assert problem is not None
    assert (problem.reason, problem.session_id, problem.sequence) == ("head", trail.session, 6)
    for turn in (trail.turns[0], make_turn(trail.tenant, session_id=trail.session, turn_number=6)):
        await trail.store.save_turn(turn)
    result = await trail.store.verify(trail.tenant, trail.session)
    assert (result.ok, result.records) == (True, 7)


async def test_a_removed_head_of_the_tenants_own_chain_is_detected(trail: Trail) -> None:
    await trail.alter(f"DELETE FROM {HEADS} WHERE chain = ''")
    problem = (await trail.store.verify(trail.tenant)).problem
    assert problem is not None
    assert (problem.reason, problem.session_id, problem.sequence) == ("head", None, 2)
    await trail.store.save_event(make_event(trail.tenant))
    assert (await trail.store.verify(trail.tenant)).ok


async def test_a_head_ahead_of_its_records_stays_so_that_the_gap_shows(trail: Trail) -> None:
    await trail.alter(f"DELETE FROM {RECORDS} WHERE sequence > 4 AND session_id = '{trail.session}'")
    await trail.store.save_turn(make_turn(trail.tenant, session_id=trail.session, turn_number=6))
    problem = await trail.found()
    assert problem is not None
    assert (problem.reason, problem.sequence) == ("missing", 5)


async def test_many_chains_without_heads_are_listed_page_by_page(trail: Trail) -> None:
    sessions = sorted(uuid4() for _ in range(7))
    await trail.store.save_events([make_event(trail.tenant, session_id=session) for session in sessions])
    whole = await trail.store.list_heads(trail.tenant)
    await trail.alter(f"DELETE FROM {HEADS} WHERE chain <> '{trail.session}'")
    heads = await trail.store.list_heads(trail.tenant)
    noted = {head.session_id for head in heads if head.sequence}
    assert noted == {trail.session}
    expected = [(head.session_id, head.recorded, head.recorded_hash) for head in whole]
    assert [(head.session_id, head.recorded, head.recorded_hash) for head in heads] == expected
    paged, after = [], None
    while page := await trail.store.list_heads(trail.tenant, limit=2, after=after):
        paged += page
        after = page[-1]
    assert paged == heads
    assert await trail.store.list_heads(trail.tenant, limit=3, offset=4) == heads[4:7]


TABLE = "convostore.audit_body_2003_{:02}"
REMOVED = ("DELETE FROM {table} WHERE record_id = '{turn}'",)
COVERED = {
    # What is done to a month whose marker is forged: its number, when the marker says that it was dropped, statements.
    "nothing": (1, "now()", (), "retention"),
    "a body is removed": (2, "now()", REMOVED, "body_missing"),
    "the month is detached": (
        3,
        "now()",
        ("ALTER TABLE convostore.audit_body DETACH PARTITION {table}",),
        "body_missing",
    ),
    "the month was not over": (4, "'2003-04-30 23:59:59+00'", ("DROP TABLE {table}",), "body_missing"),
}


@pytest.mark.parametrize("what", COVERED)
async def test_a_month_that_is_wrongly_noted_as_dropped_is_detected(
    server: Embedded, pool: asyncpg.Pool[Any], admin: Any, what: str
) -> None:
    month, dropped_at, statements, reason = COVERED[what]
    store, table, turn = on(PostgresAuditStore(pool), 2003, month), TABLE.format(month), make_turn(uuid4())
    await store.save_turn(turn)
    await admin.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    for statement in statements:
        await admin.execute(statement.format(table=table, turn=turn.turn_id))
    await admin.execute(f"INSERT INTO convostore.audit_retention VALUES ('2003-{month:02}-01', {dropped_at})")
    for session in (None, turn.session_id):
        problem = (await store.verify(turn.tenant_id, session)).problem
        assert problem is not None
        assert (problem.reason, problem.sequence, problem.record_id) == (reason, 1, turn.turn_id)
    await admin.execute(f"DROP TABLE IF EXISTS {table}")


async def test_a_body_that_cannot_be_read_is_an_error_that_names_it(trail: Trail) -> None:
    await trail.alter(f"UPDATE {BODIES} SET content = '\\xff' WHERE {{turn}}")
    with pytest.raises(StoreError, match=f"turn {trail.turns[2].turn_id}: the stored value cannot be read"):
        await trail.store.get_turn(trail.tenant, trail.turns[2].turn_id)
    others = [*trail.turns[:2], *trail.turns[3:]]
    assert await trail.store.list_turns_by_session(trail.tenant, trail.session) == others
