"""Every tenant condition of PostgreSQL, neutralised: a leak without row-level security, none with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres import create_pool, migrate
from convostore.testing.factories import make_event
from convostore.testing.isolation.contract import filled
from convostore.testing.isolation.worlds import Ids
from tests.isolation.conditions import functions, mutants
from tests.isolation.mutating import (
    ENDLESS,
    REPEATED,
    Sending,
    explained,
    mutations,
    sending,
    tried,
    unprotected_database,
)
from tests.postgres.databases import connected
from tests.postgres.rewriting import stores_on

SAMPLE = 3
"""How many mutants a default run tries."""

KINDS = pytest.mark.parametrize("kind", ["config", "memory", "sessions", "profiles", "audit"])

CALLED = {
    "named_entities": "memory",
    "profiles_with_field": "profiles",
    "scored_episodes": "memory",
    "record_audit": "audit",
    "record_audit_item": "audit",
    "lock_audit_head": "audit",
}
"""The functions that stores call, and of which store."""

HARMLESS = {
    "named_entities 1": "the terms of an entity hold a hash of its tenant and agent, which are asked for",
    "scored_episodes 2": "more languages to read the query in, which no episode of the scope has",
    "scored_episodes 3": "more languages to read the query in, which no episode of the scope has",
    "scored_episodes 4": "the planner's estimate of how many episodes a scope has, asked for above 1,000 of them",
    "scored_episodes 7": "how many episodes of a language there are, asked for above 1,000 of a scope",
    "scored_episodes 5": "an episode's words hold a hash of its tenant and agent, which the query asks for",
    "scored_episodes 6": "an episode's words hold a hash of its tenant and agent, which the query asks for",
}
"""The mutants of functions that change nothing, and by which other condition theirs is implied."""


@asynccontextmanager
async def store_on(dsn: str, kind: str) -> AsyncIterator[Any]:
    """A store on a pool of its own."""
    async with await create_pool(dsn, max_size=4) as pool:
        yield stores_on(pool)[kind].within(20)


@dataclass
class Fates:
    """What became of mutants, by their names.

    Attributes:
        killed: what they were killed by.
        endless: with which a call met its deadline.
        survived: that changed nothing.
        not_reached: that change nothing either where the condition is never true.
    """

    killed: dict[str, str] = field(default_factory=dict)
    endless: list[str] = field(default_factory=list)
    survived: list[str] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)

    def note(self, name: str, fate: str) -> None:
        """Note the fate of a mutant, as a trial returns it."""
        if fate and fate != ENDLESS:
            self.killed[name] = fate
        else:
            (self.endless if fate else self.survived).append(name)


async def run(store: Any, passing: Sending, most: int | None = None, *, classify: bool = False) -> Fates:
    """Try mutants of what a store sends, in the parts that send it.

    To `classify` tells what survived, but is right for a reason, from what is not reached.
    """
    trial = await tried(store, started=passing.begin)
    sent = {part: passing.seen[part] for part in trial.parts}
    everything = list(mutations({statement: None for part in trial.parts for statement in sent[part]}))
    fates = Fates()
    for mutation in everything[:: max(1, len(everything) // most)] if most else everything:
        concerned = [part for part in trial.parts if sent[part].keys() & mutation.neutralised.keys()]
        name = f"{store.kind}: {mutation.name}"
        passing.rewrite = mutation.neutralised
        fate = await trial.fate(concerned)
        passing.rewrite = mutation.closed
        if classify and not fate and not explained(mutation.name) and not await trial.fate(concerned):
            fates.not_reached.append(name)
        else:
            fates.note(name, fate)
        passing.rewrite = {}
    return fates


@pytest.mark.trust
@pytest.mark.timeout(3_600)
@KINDS
async def test_without_row_level_security_every_harmful_mutant_is_killed(
    engines: Embedded, kind: str, trust_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unprotected_database(engines.postgres_dsn, migrate) as dsn, store_on(dsn, kind) as store:
        with sending(monkeypatch) as passing:
            fates = await run(store, passing, classify=True)
    reasons = Counter(explained(name) or name for name in fates.survived)
    trust_facts[f"mutants of {kind}, unprotected"] = {
        "killed": len(fates.killed),
        "killed by": fates.killed,
        "endless": fates.endless,
        "harmless": dict(reasons),
        "not reached": fates.not_reached,
    }
    assert [name for name in fates.survived if explained(name) is None] == []
    assert [name for name in fates.endless if not re.search(REPEATED, name)] == []
    assert len(fates.killed) > len(fates.survived)


@pytest.mark.trust
@pytest.mark.timeout(3_600)
@KINDS
async def test_with_row_level_security_no_mutant_leaks(
    engines: Embedded, kind: str, trust_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store_on(engines.postgres_dsn, kind) as store:
        with sending(monkeypatch) as passing:
            fates = await run(store, passing)
    trust_facts[f"mutants of {kind}, protected"] = {"contained": len(fates.survived), "leaking": list(fates.killed)}
    assert fates.killed == {}
    assert fates.endless == []


@pytest.mark.trust
@pytest.mark.timeout(3_600)
async def test_without_row_level_security_mutants_of_functions_are_killed(
    engines: Embedded, trust_facts: dict[str, Any]
) -> None:
    fates = Fates()
    async with unprotected_database(engines.postgres_dsn, migrate) as dsn, connected(dsn) as admin:
        for name, kind in CALLED.items():
            original = functions()[name].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
            further = {"restored head": partial(restores_its_own_head, admin)} if kind == "audit" else {}
            async with store_on(dsn, kind) as store:
                trial = await tried(store, further)
                for number, mutant in enumerate(mutants(original), 1):
                    await admin.execute(mutant)
                    fates.note(f"{name} {number}", await trial.fate(trial.parts))
                    await admin.execute(original)
    trust_facts["mutants of functions, unprotected"] = {
        "killed": fates.killed,
        "endless": fates.endless,
        "survived": {name: HARMLESS.get(name) for name in fates.survived},
    }
    assert set(fates.survived) == HARMLESS.keys()
    assert fates.endless == []


async def restores_its_own_head(admin: Any, store: Any) -> None:
    """Check that a head that was set back behind the store's back is restored and advanced for its tenant alone."""
    one, twin = await filled(store, ids := Ids()), await filled(store, ids, twin=True)
    session = ids("session", 0)
    head = "SELECT sequence, hash FROM convostore.audit_head WHERE tenant_id = $1 AND chain = $2::text"
    before = await admin.fetchrow(head, twin.tenant, str(session))
    set_back = "UPDATE convostore.audit_head SET sequence = 0 WHERE tenant_id = $1 AND chain = $2::text"
    await admin.execute(set_back, one.tenant, str(session))
    await store.save_event(make_event(one.tenant, session_id=session))
    await store.save_events([make_event(one.tenant, session_id=session) for _ in range(2)])
    assert await admin.fetchrow(head, twin.tenant, str(session)) == before, "another tenant's head was changed"


async def test_with_row_level_security_a_sample_of_mutants_does_not_leak(
    engines: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending(monkeypatch) as passing:
        async with store_on(engines.postgres_dsn, "sessions") as store:
            assert (await run(store, passing, SAMPLE)).killed == {}
