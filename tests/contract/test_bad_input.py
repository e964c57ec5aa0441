"""The contract about bad input fails stores that take it or alter what they take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from convostore.inmemory import InMemoryConfigStore, InMemoryMemoryStore
from convostore.models import Episode, Template
from convostore.testing.bad_input import BadInputContract


class Stripping(InMemoryConfigStore):
    """Alters a text."""

    async def save_template(self, template: Template, *, overwrite: bool = False) -> UUID:
        return await super().save_template(
            template.model_copy(update={"text": template.text.strip()}), overwrite=overwrite
        )


class Streaming(InMemoryConfigStore):
    """Has a stream with a plain signature."""

    def __getattribute__(self, name: str) -> Any:
        async def iter_agents(tenant_id: UUID, *, enabled_only: bool = False) -> AsyncIterator[Any]:
            yield await self.get_agents(tenant_id, enabled_only=enabled_only)

        return iter_agents if name == "iter_agents" else super().__getattribute__(name)


class Coercing(InMemoryMemoryStore):
    """Takes what no episode can be."""

    def __getattribute__(self, name: str) -> Any:
        async def add_episode(episode: Episode) -> UUID:
            return await InMemoryMemoryStore.add_episode(self, Episode.model_validate(episode.model_dump() | TAKEN))

        return add_episode if name == "add_episode" else super().__getattribute__(name)


TAKEN = {"content": "x"}

FIELDS = BadInputContract.test_a_field_is_kept_as_it_was_given_or_refused_unsent
NAMES = BadInputContract.test_missing_unknown_and_surplus_arguments_are_refused_by_name


@pytest.mark.parametrize(
    ("test", "store"),
    [(FIELDS, Stripping), (NAMES, Streaming), (FIELDS, Coercing)],
    ids=lambda each: each.__name__,
)
async def test_a_store_that_takes_bad_input_is_failed(test: Any, store: type) -> None:
    with pytest.raises(AssertionError):
        await test(BadInputContract(), store())
