"""Tables above five methods of a backend, where some rows cannot be read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.paging import paginate
from convostore.domain.codec import Unreadable
from convostore.domain.declarations import RULE
from convostore.gateway.rows import Row
from convostore.inmemory.table import InMemoryTable
from convostore.models import Rule
from convostore.models.fields import now
from convostore.testing.factories import make_rule

TENANT = uuid4()


class Damaged(InMemoryTable[Rule]):
    """A table in which rows with even priorities cannot be read."""

    def select(self, tenant_id: UUID, where: Any, **page: Any) -> list[Row[Rule]]:
        return [
            replace(row, read=_unreadable) if row.handle.item.priority % 2 == 0 else row
            for row in super().select(tenant_id, where, **page)
        ]


def _unreadable() -> Rule:
    raise Unreadable("rule", "of a test")


@pytest.fixture
def table() -> Damaged:
    """A table with the priorities 9 to 0, in this order."""
    table = Damaged(RULE, now, {})
    for priority in range(10):
        table.put(make_rule(TENANT, uuid4(), priority=priority), uuid4())
    return table


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        (None, 0, [9, 7, 5, 3, 1]),
        (2, 0, [9, 7]),
        (2, 3, [5, 3]),
        (1, 9, []),
        (3, 4, [5, 3, 1]),
        (9, 0, [9, 7, 5, 3, 1]),
    ],
)
async def test_a_page_is_full_unless_it_is_the_last(
    table: Damaged, limit: int | None, offset: int, expected: list[int]
) -> None:
    found = await table.find(TENANT, {}, limit=limit, offset=offset)
    assert [rule.priority for rule in found] == expected


async def test_a_stream_goes_on(table: Damaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convostore.call.paging.PAGE", 1)

    async def page(*, limit: int, after: Rule | None) -> list[Rule]:
        return await table.find(TENANT, {}, limit=limit, after=after)

    assert [rule.priority async for rule in paginate(page)] == [9, 7, 5, 3, 1]


async def test_a_row_is_named_where_it_is_asked_for(table: Damaged) -> None:
    with pytest.raises(Unreadable, match="rule of a test"):
        await table.get(TENANT, priority=4)
