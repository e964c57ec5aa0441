"""Every reference to a table has a tenant condition of its own, and none could be left out unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from convostore.embedded import Embedded
from convostore.postgres.queries import queries
from tests.isolation.conditions import CONDITION, functions, mutants, references, unconditional
from tests.postgres.databases import connected
from tests.postgres.test_queries import GENERATED, NAMED, SEARCH_FILTERS, generated, searches

EXCEPTIONS = {
    # Whose a session is, which are old, who has large spaces and texts, which months have no bodies any more.
    "session_tenant": ["session"],
    "old_sessions": ["session"],
    "vector_spaces": ["episode", "episode"],
    "vector_spaces_above": ["episode", "episode", "episode"],
    "tenants_with_embeddings": ["episode"] * 4,
    "tenants_with_stale_fields": ["profile", "profile_field"],
    "large_spaces": ["large_space"],
    "tenants": ["agent", "session", "episode", "profile"],
    "text_tenants": ["rule", "episode", "entity"],
    "tenants_to_purge": [
        "agent",
        "rule",
        "scenario",
        "template",
        "variable",
        "tool_activation",
        "migration_plan",
        "profile",
    ],
    "audit_body_dropped": ["audit_retention"],
    "audit_month_is_made": ["audit_retention"],
}


def statements() -> Iterator[tuple[str, str]]:
    """Yield every statement there is, with a name."""
    for file, name in NAMED:
        yield f"{file}.{name}", getattr(queries(file), name).sql
    for entity, kind in GENERATED:
        for number, text in enumerate(generated(entity, kind)):
            yield f"{entity}.{kind} {number}", text
    for entity, filters in SEARCH_FILTERS:
        for number, text in enumerate(searches(entity, filters)):
            yield f"search of {entity} {len(filters)}, {number}", text


FUNCTIONS = functions()


async def test_the_functions_are_those_of_the_database(engines: Embedded) -> None:
    async with connected(engines.postgres_dsn) as connection:
        found = await connection.fetch(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'convostore'::regnamespace AND prokind = 'f'"
        )
    assert {name for (name,) in found} == set(FUNCTIONS)


def test_every_reference_has_a_condition_of_its_own(trust_facts: dict[str, Any]) -> None:
    everything = dict(statements())
    assert {name: loose for name, text in everything.items() if (loose := unconditional(text))} == {}
    assert {name: loose for name, text in FUNCTIONS.items() if (loose := unconditional(text))} == EXCEPTIONS
    trust_facts["statements"] = {
        "statements": len(everything),
        "functions": len(FUNCTIONS),
        "references": sum(len(references(text)) for text in [*everything.values(), *FUNCTIONS.values()]),
        "exceptions": EXCEPTIONS,
    }


def test_a_condition_that_is_left_out_is_noticed(trust_facts: dict[str, Any]) -> None:
    count = 0
    for name, text in [*statements(), *FUNCTIONS.items()]:
        for mutant in mutants(text):
            count += 1
            assert len(unconditional(mutant)) == len(unconditional(text)) + 1, f"{name}: {mutant}"
    assert count > 1_500
    trust_facts["statement_mutants"] = {"planted": count, "noticed": count}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM convostore.rule AS t JOIN convostore.rule AS t2 ON t2.id = t.id WHERE t.tenant_id = $1",
        "SELECT 1 FROM convostore.rule AS t WHERE t.tenant_id = $1 OR t.enabled",
        "SELECT 1 FROM convostore.rule AS t WHERE NOT t.tenant_id = $1",
        "SELECT 1 FROM convostore.rule AS t WHERE t.tenant_id = t.scope_id",
        "SELECT 1 FROM convostore.rule AS t WHERE EXISTS (SELECT WHERE t.tenant_id = $1)",
    ],
)
def test_a_condition_that_is_none_does_not_count(statement: str) -> None:
    assert unconditional(statement) != []


def test_a_condition_is_found_in_every_form() -> None:
    for value in ("$1", "(TABLE holder)", "of_tenant", "matching_episodes.tenant", "p.tenant_id"):
        assert CONDITION.fullmatch(f"t.tenant_id = {value}"), value
