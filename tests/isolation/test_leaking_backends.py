"""The published contract suite fails a backend that leaks in any method, or in any check before a write."""

from __future__ import annotations

from typing import Any

import pytest

from convostore.errors import StoreError
from convostore.testing.isolation.contract import IsolationContract
from tests.isolation.leaking import LEAKS

SAMPLE = (
    "config.delete_agent",
    "config.get_rule",
    "config.purge_deleted",
    "config.vector_search_rules",
    "memory.traverse_from_entities",
    "profile.merge_profiles",
    "audit.save_turn",
    "session.get_by_channel",
    "variable: unique",
    "agent: revision",
    "relationship: parents",
)
"""Reads, cascades, purges, searches, merges, and checks of revisions, unique sets and parents."""


async def is_failed(store: Any) -> bool:
    """Return whether the contract of isolation fails a store."""
    suite = IsolationContract()
    try:
        await suite.test_what_a_tenant_reads_does_not_depend_on_a_twin(store)
        await suite.test_what_a_tenant_writes_does_not_depend_on_a_twin_nor_changes_it(store)
    except (AssertionError, StoreError):
        # An error stands for a failure too: a tenant could not save what its twin has.
        return True
    return False


@pytest.mark.parametrize("name", SAMPLE)
async def test_a_leaking_backend_is_failed(name: str) -> None:
    assert await is_failed(LEAKS[name]())


@pytest.mark.trust
@pytest.mark.timeout(3_600)
async def test_a_backend_that_leaks_anywhere_is_failed(trust_facts: dict[str, Any]) -> None:
    passed = [name for name, store in LEAKS.items() if not await is_failed(store())]
    trust_facts["leaking_backends"] = {"planted": len(LEAKS), "failed": len(LEAKS) - len(passed), "passed": passed}
    assert passed == []
