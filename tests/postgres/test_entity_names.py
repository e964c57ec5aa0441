"""Names that another release wrote, and what the server makes of a name on its own."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.domain.text import read_name
from convostore.postgres import PostgresMemoryStore
from convostore.testing.factories import make_entity
from tests.unit.texts import NASTY, PIECES

BEFORE = """
INSERT INTO convostore.entity
    (tenant_id, id, agent_id, group_id, name, entity_type, attributes, valid_from, recorded_at, revision)
VALUES ($1, gen_random_uuid(), $2, gen_random_uuid(), $3, 'person', '{}', now(), now(), 1)
"""
"""What the release before inserts."""


async def found(pool: asyncpg.Pool[Any], tenant: UUID, agent: UUID, name: str) -> list[tuple[str, float]]:
    return [
        (entity.name, score)
        for entity, score in await PostgresMemoryStore(pool).find_entities(tenant, agent, name=name)
    ]


@pytest.mark.parametrize(
    ("stored", "asked", "score"),
    [
        ("Ann  SMITH", "ann smith", 1.0),
        ("Smith, Ann", "ann smith", 0.9),
        ("tea tea", "tea", 0.9),
        ("Anna", "ann", 0.2),
        ("Müller GmbH", "müller gmbh", 1.0),
        ("Müller GmbH", "Müller", 0.7),
        ("成语接龙", "成语接龙", 1.0),
    ],
)
async def test_names_of_the_release_before_are_found(
    pool: asyncpg.Pool[Any], admin: Any, stored: str, asked: str, score: float
) -> None:
    tenant, agent = uuid4(), uuid4()
    await admin.execute(BEFORE, tenant, agent, stored)
    assert await found(pool, tenant, agent, asked) == [(stored, score)]


async def test_a_save_of_the_release_before_is_found_by_its_name(pool: asyncpg.Pool[Any], admin: Any) -> None:
    tenant, agent = uuid4(), uuid4()
    entity = make_entity(tenant, agent, name="成语接龙")
    await PostgresMemoryStore(pool).add_entity(entity)
    save = "UPDATE convostore.entity SET name = $2, entity_type = 'x' WHERE tenant_id = $1"
    await admin.execute(save, tenant, entity.name)
    assert await found(pool, tenant, agent, "语接") == [(entity.name, 0.65)]
    await admin.execute(save, tenant, "Ann")
    assert await found(pool, tenant, agent, "语接") == []
    assert await found(pool, tenant, agent, "ann") == [("Ann", 1.0)]
    # A save of this release stores the words again.
    stored = await PostgresMemoryStore(pool).get_entity(tenant, entity.id)
    assert stored is not None
    stored.name = "成语"
    await PostgresMemoryStore(pool).save_entity(stored, overwrite=True)
    assert await found(pool, tenant, agent, "语") == [("成语", 0.7)]


async def test_the_server_reads_names_in_ascii_as_the_client_does(admin: Any) -> None:
    # But for numbers with an exponent in a word, control characters and very long words.
    unlike = re.compile("[0-9]e[0-9]|[\x01-\x08\x0e-\x1f]|x{400}")
    names = [name for name in (*NASTY, *PIECES) if name.isascii() and not unlike.search(name)]
    assert len(names) > 100
    statement = "SELECT convostore.name_words(n) FROM unnest($1::text[]) WITH ORDINALITY AS t (n, i) ORDER BY i"
    for name, (made,) in zip(names, await admin.fetch(statement, names), strict=True):
        key, *words = made.split(" ")
        expected = read_name(name)
        assert (key, {*words}) == (expected.key, {*expected.words, ""}), name


MISSED = """
SELECT e.name, a.key, a.words
FROM convostore.entity AS e
CROSS JOIN LATERAL (SELECT string_to_array(coalesce(e.words, convostore.name_words(e.name)), ' ') AS made) AS m
CROSS JOIN LATERAL (
    SELECT m.made[1] AS key, '{}'::text[] AS words
    UNION ALL SELECT '?', ARRAY[left(w.w, length(w.w) / 2 + 1)] FROM unnest(m.made[2:]) AS w (w) WHERE w.w <> ''
) AS a
WHERE e.tenant_id = $1 AND e.id NOT IN (SELECT convostore.named_entities($1, $2, a.key, a.words))
"""
"""Names that are not found by what they are looked for, the whole or the beginnings of words."""


async def test_any_name_is_found_by_all_of_its_terms(admin: Any) -> None:
    tenant, agent = uuid4(), uuid4()
    for name in [*NASTY, "\N{GRINNING FACE}" * 500, "x" * 500]:
        await admin.execute(BEFORE, tenant, agent, name[:500])
    async with admin.transaction():
        await admin.execute("SELECT convostore.bind($1)", tenant)
        assert await admin.fetch(MISSED, tenant, agent) == []
        for key, name in await admin.fetch("SELECT id, name FROM convostore.entity WHERE tenant_id = $1", tenant):
            await admin.execute(
                "UPDATE convostore.entity SET search_text = $2 WHERE id = $1", key, str(read_name(name))
            )
        assert await admin.fetch(MISSED, tenant, agent) == []
