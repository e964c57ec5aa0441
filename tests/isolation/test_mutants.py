"""Every tenant condition of PostgreSQL, neutralised: a leak without row-level security, none with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres import create_pool, migrate
from tests.isolation.conditions import functions, mutants
from tests.isolation.mutating import (
    Phase,
    Sending,
    explained,
    is_killed,
    mutations,
    phases_of,
    sending,
    unprotected_database,
)
from tests.postgres.databases import connected
from tests.postgres.rewriting import stores_on

SAMPLE = 3
"""How many mutants a default run tries."""

KINDS = pytest.mark.parametrize("kind", ["config", "memory", "sessions", "profiles", "audit"])

CALLED = {
    "matching_episodes": "memory",
    "profile_document": "profiles",
    "record_audit": "audit",
    "lock_audit_head": "audit",
}
"""The functions that stores call, and of which store."""


@asynccontextmanager
async def store_on(dsn: str, kind: str) -> AsyncIterator[Any]:
    """A store on a pool of its own."""
    async with await create_pool(dsn, max_size=4) as pool:
        # Enough time on a busy machine: a call that is late says nothing of a mutant.
        yield stores_on(pool)[kind].within(20)


async def sent_by(store: Any, passing: Sending) -> tuple[dict[str, Phase], dict[str, dict[str, None]]]:
    """Return the parts of the contract of isolation, and what a store sends in each."""
    phases = await phases_of(store)
    for name, phase in phases.items():
        passing.phase = name
        await phase(store)
    passing.phase = ""
    return phases, {name: passing.seen[name] for name in phases}


async def run(store: Any, passing: Sending, most: int | None = None, *, classify: bool = False) -> dict[str, list[str]]:
    """Try mutants of what a store sends, in the parts that send it; return their names by what became of them.

    To `classify` tells what survived, but is right for a reason, from what is not reached.
    """
    phases, sent = await sent_by(store, passing)
    tried = list(mutations({statement: None for name in phases for statement in sent[name]}))
    found: dict[str, list[str]] = {"killed": [], "survived": [], "not reached": []}
    for mutation in tried[:: max(1, len(tried) // most)] if most else tried:
        concerned = [phases[part] for part in phases if sent[part].keys() & mutation.neutralised.keys()]
        passing.rewrite = mutation.neutralised
        fate = "killed" if await is_killed(store, concerned) else "survived"
        passing.rewrite = mutation.closed
        if classify and fate == "survived" and not explained(mutation.name) and not await is_killed(store, concerned):
            fate = "not reached"
        passing.rewrite = {}
        found[fate].append(f"{store.kind}: {mutation.name}")
    return found


@pytest.mark.trust
@pytest.mark.timeout(3_600)
@KINDS
async def test_without_row_level_security_every_harmful_mutant_is_killed(
    engines: Embedded, kind: str, trust_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unprotected_database(engines.postgres_dsn, migrate) as dsn, store_on(dsn, kind) as store:
        with sending(monkeypatch) as passing:
            found = await run(store, passing, classify=True)
    reasons = Counter(explained(name) or name for name in found["survived"])
    trust_facts[f"mutants of {kind}, unprotected"] = {
        "killed": len(found["killed"]),
        "harmless": dict(reasons),
        "not reached": found["not reached"],
    }
    assert [name for name in found["survived"] if explained(name) is None] == []
    assert len(found["killed"]) > len(found["survived"])


@pytest.mark.trust
@pytest.mark.timeout(3_600)
@KINDS
async def test_with_row_level_security_no_mutant_leaks(
    engines: Embedded, kind: str, trust_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store_on(engines.postgres_dsn, kind) as store:
        with sending(monkeypatch) as passing:
            found = await run(store, passing)
    trust_facts[f"mutants of {kind}, protected"] = {"contained": len(found["survived"]), "leaking": found["killed"]}
    assert found["killed"] == []


@pytest.mark.trust
@pytest.mark.timeout(3_600)
async def test_without_row_level_security_mutants_of_functions_are_killed(
    engines: Embedded, trust_facts: dict[str, Any]
) -> None:
    found: dict[str, list[str]] = {"killed": [], "survived": []}
    async with unprotected_database(engines.postgres_dsn, migrate) as dsn, connected(dsn) as admin:
        for name, kind in CALLED.items():
            original = functions()[name].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
            async with store_on(dsn, kind) as store:
                phases = [*(await phases_of(store)).values()]
                for number, mutant in enumerate(mutants(original), 1):
                    await admin.execute(mutant)
                    killed = await is_killed(store, phases)
                    await admin.execute(original)
                    found["killed" if killed else "survived"].append(f"{name} {number}")
    trust_facts["mutants of functions, unprotected"] = found
    assert len(found["killed"]) > len(found["survived"])


async def test_with_row_level_security_a_sample_of_mutants_does_not_leak(
    engines: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending(monkeypatch) as passing:
        async with store_on(engines.postgres_dsn, "sessions") as store:
            assert (await run(store, passing, SAMPLE))["killed"] == []
