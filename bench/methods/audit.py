"""The methods of an audit store, by hand on plain tables (bench/audit.py): no chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from operator import attrgetter
from typing import Any

from bench.audit import PLAIN, insert, row
from bench.data import columns
from bench.methods.cases import LIMIT, Arguments, Case
from bench.methods.slots import EACH, Slot, event, turn
from convostore.models import AuditEvent, TurnRecord

_NUMBERS = count(1_000)


def _turn(slot: Slot) -> TurnRecord:
    return turn(slot.tenant, slot.agent, slot.customer, slot.session, next(_NUMBERS))


def _event(slot: Slot) -> AuditEvent:
    return event(slot.tenant, slot.customer, slot.session)


def _kind(name: str, model: Any, make: Callable[[Slot], Any], values: Callable[[Any], Arguments]) -> Iterator[Case]:
    into, key = insert(f"bench.{name}", model), next(iter(model.model_fields))

    def first(slot: Slot, _: int) -> Arguments:
        return slot.tenant, getattr(slot.rows[name][0], key)

    def latest(where: str) -> str:
        return f'{where} ORDER BY "timestamp" DESC, {key} LIMIT {LIMIT}'

    select = f"SELECT {columns(model)} FROM bench.{name} WHERE tenant_id = $1"
    by_customer = f"list_{name}s_by_customer"
    yield Case("audit", f"save_{name}", lambda slot, _: (make(slot),), into, values)
    yield Case(
        "audit",
        f"save_{name}s",
        lambda slot, _: ([make(slot) for _ in range(EACH)],),
        into,
        lambda items: [values(item) for item in items],
        many=True,
    )
    yield Case("audit", f"get_{name}", first, f"{select} AND {key} = $2", model=model)
    yield Case(
        "audit",
        by_customer,
        lambda slot, _: (slot.tenant, slot.customer),
        latest(f"{select} AND customer_profile_id = $2"),
    )


def _more() -> Iterator[Case]:
    for method in ("list_turns_by_tenant", "list_events", "list_records", "list_heads", "list_bodies"):
        yield Case("audit", method, lambda slot, _: (slot.tenant,))
    for method in ("list_turns_by_session", "verify"):
        yield Case("audit", method, lambda slot, _: (slot.tenant, slot.session))


_VALUES: dict[str, tuple[Any, Callable[[Any], Arguments]]] = {
    "turn": (TurnRecord, row),
    "event": (AuditEvent, attrgetter(*AuditEvent.model_fields)),
}

CASES = [
    *_kind("turn", TurnRecord, _turn, row),
    *_kind("event", AuditEvent, _event, _VALUES["event"][1]),
    *_more(),
]


async def prepare(pool: Any, slots: list[Slot]) -> None:
    """Store the turns and events of slots by hand."""
    await pool.execute(PLAIN)
    for name, (model, values) in _VALUES.items():
        rows = [values(each) for slot in slots for each in slot.rows[name]]
        await pool.executemany(insert(f"bench.{name}", model), rows)
