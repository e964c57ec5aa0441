"""Rules by words: in the store's language, and those that another release wrote."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore.postgres import PostgresConfigStore
from convostore.testing.factories import make_rule


async def test_conditions_are_read_in_the_language_of_the_store_that_searches(pool: asyncpg.Pool[Any]) -> None:
    tenant, agent = uuid4(), uuid4()
    simple, english = PostgresConfigStore(pool), PostgresConfigStore(pool, language="english")
    rule = make_rule(tenant, agent, condition_text="The customer asks about Refunds")
    await simple.save_rule(rule)
    assert await english.search_rules("refunding", [1.0], tenant, agent) == [(rule, 0.5)]
    assert await english.search_rules("the", [1.0], tenant, agent) == []
    assert await simple.search_rules("refunding", [1.0], tenant, agent) == []
    assert await simple.search_rules("the", [1.0], tenant, agent) == [(rule, 0.5)]
    assert await english.for_tenant(tenant).search_rules("refund", [1.0], tenant, agent) == [(rule, 0.5)]


@pytest.mark.parametrize(
    ("condition", "query"),
    [
        ("Asks about REFUNDS", "refunds"),
        ("die äpfel", "Äpfel"),
        ("x " * 500_000 + "end", "x"),
        (" ".join(f"äpfel{number}" for number in range(80_000)), "äpfel7"),
    ],
    ids=["ascii", "lower case", "long", "long in another script"],
)
async def test_conditions_of_the_release_before_are_found(
    pool: asyncpg.Pool[Any], admin: Any, condition: str, query: str
) -> None:
    tenant, agent = uuid4(), uuid4()
    store, rule = PostgresConfigStore(pool), make_rule(tenant, agent, condition_text=condition)
    await store.save_rule(rule)
    # As a save of the release before leaves it.
    await admin.execute("UPDATE convostore.rule SET condition_text = 'x' WHERE tenant_id = $1", tenant)
    await admin.execute("UPDATE convostore.rule SET condition_text = $2 WHERE tenant_id = $1", tenant, condition)
    assert await admin.fetchval("SELECT words FROM convostore.rule WHERE tenant_id = $1", tenant) is None
    assert await store.search_rules(query, [1.0], tenant, agent) == [(rule, 0.5)]
