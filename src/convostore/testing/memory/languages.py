"""The contract of memory stores: the language of episodes that do not name one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import MemoryStore
from convostore.errors import ConflictError
from convostore.models import Episode
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_episode


def _like(episode: Episode, **changes: Any) -> Episode:
    return episode.model_copy(update=changes)


class LanguageContract(StoreContract):
    """The store's default language."""

    async def test_an_episode_without_a_language_gets_the_stores(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        one, two, german = make_episode(tenant, agent), make_episode(tenant, agent), make_episode(tenant, agent)
        german.language = "german"
        await store.add_episode(one)
        await store.add_episodes([two, german])
        assert one.language
        assert (two.language, german.language) == (one.language, "german")
        for episode in (one, two, german):
            assert await store.get_episode(tenant, episode.id) == episode

    async def test_no_language_equals_the_stored_one_when_an_episode_is_added_again(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        stored = [make_episode(tenant, agent, language=language) for language in (None, "german", "simple")]
        await store.add_episodes(stored)
        for episode in stored:
            again, listed, new = (_like(episode, language=None) for _ in range(3))
            new.id = uuid4()
            await store.add_episode(again)
            await store.add_episodes([new, listed])
            assert again == listed == episode
            assert await store.get_episode(tenant, new.id) == new

    async def test_another_language_is_other_content(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        episode = make_episode(tenant, agent)
        await store.add_episode(episode)
        other = _like(episode, language="german")
        with pytest.raises(ConflictError):
            await store.add_episode(other)
        with pytest.raises(ConflictError):
            await store.add_episodes([make_episode(tenant, agent), other])
        assert await store.get_episodes(tenant, agent) == [episode]

    async def test_an_episode_that_stands_twice_in_a_list_has_one_language(self, store: MemoryStore) -> None:
        tenant, agent = uuid4(), uuid4()
        first = make_episode(tenant, agent)
        await store.add_episode(first)
        for languages in ((None, None), (None, first.language), (first.language, None), ("german", None)):
            key = uuid4()
            named, repeated = (_like(first, id=key, language=language) for language in languages)
            await store.add_episodes([named, repeated])
            assert named == repeated == await store.get_episode(tenant, named.id)
            assert named.language == (languages[0] or first.language)
        named = _like(first, id=uuid4(), language=None)
        with pytest.raises(ConflictError):
            await store.add_episodes([named, _like(named, language="german")])
