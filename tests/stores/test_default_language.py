"""The language of episodes that do not name one: of every store, bound or not, by keyword or from the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore import Language, open_stores
from convostore.contracts import MemoryStore
from convostore.embedded import Embedded
from convostore.errors import ValidationError
from convostore.inmemory import InMemoryConfigStore, InMemoryMemoryStore
from convostore.models import fields
from convostore.postgres import PostgresConfigStore, PostgresMemoryStore, create_pool
from convostore.testing.factories import make_episode


@pytest.fixture(scope="module")
async def pool(engines: Embedded) -> AsyncIterator[asyncpg.Pool[Any]]:
    async with await create_pool(engines.postgres_dsn) as opened:
        yield opened


@pytest.mark.parametrize("backend", ["memory", "postgres"])
async def test_a_store_and_its_twins_have_a_language(backend: str, pool: asyncpg.Pool[Any]) -> None:
    stores: list[MemoryStore]
    if backend == "memory":
        stores = [InMemoryMemoryStore(language="english"), InMemoryMemoryStore()]
    else:
        stores = [PostgresMemoryStore(pool, language="english"), PostgresMemoryStore(pool)]
    english, simple = stores
    tenant, agent = uuid4(), uuid4()
    for store, language in (
        (english, "english"),
        (english.for_tenant(tenant), "english"),
        (english.within(60), "english"),
        (simple, "simple"),
    ):
        episode = make_episode(tenant, agent, content="She asked for refunds")
        await store.add_episode(episode)
        assert episode.language == language
        assert await store.get_episode(tenant, episode.id) == episode


async def test_the_default_language_is_what_an_episode_is_found_by(pool: asyncpg.Pool[Any]) -> None:
    store, tenant, agent = PostgresMemoryStore(pool, language="english"), uuid4(), uuid4()
    episode = make_episode(tenant, agent, content="She asked for refunds")
    await store.add_episode(episode)
    assert await store.text_search_episodes("refund", tenant, agent) == [episode]


async def test_a_language_is_set_by_keyword_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def language(**options: Any) -> str | None:
        async with open_stores(backend="memory", **options) as stores:
            episode = make_episode(uuid4(), uuid4())
            await stores.for_tenant(episode.tenant_id).memory.add_episode(episode)
            return episode.language

    assert await language() == "simple"
    monkeypatch.setenv("CONVOSTORE_LANGUAGE", "german")
    assert await language() == "german"
    assert await language(language="english") == "english"


def test_the_type_is_importable_from_the_package() -> None:
    assert Language is fields.Language


async def test_an_unknown_language_is_refused_with_the_known_ones(pool: asyncpg.Pool[Any]) -> None:
    expected = f"language: must be one of {', '.join(fields.LANGUAGES)}"
    with pytest.raises(ValidationError, match=f"^{expected}$"):
        async with open_stores(backend="memory", language="klingon"):
            pass
    for make in (
        lambda: InMemoryMemoryStore(language="klingon"),
        lambda: InMemoryConfigStore(language="klingon"),
        lambda: PostgresMemoryStore(pool, language="klingon"),
        lambda: PostgresConfigStore(pool, language="klingon"),
    ):
        with pytest.raises(ValidationError, match=f"^{expected}$"):
            make()
