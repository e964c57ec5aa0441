"""The contract of all stores: arguments out of bounds are refused by name, before anything is asked of the backend."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore
from convostore.domain.declarations import CONFIG
from convostore.errors import ValidationError
from convostore.models import Channel
from convostore.testing.base import StoreContract

Call = Callable[..., Coroutine[Any, Any, Any]]

LIMITS = (0, -1, 1_001, True, 1.5, "10")
OFFSETS = (-1, 10_001, False, 0.5)
SCORES = (-1.01, 1.01, float("nan"), float("inf"), "0.5")
VECTORS: tuple[Any, ...] = (
    [],
    [0.0, 0.0],
    [1e-60],
    [float("nan")],
    [float("inf")],
    [1e39],
    [1.0] * 4_001,
    ["1"],
    [True],
    "12",
    None,
)
TIMES = ("2026-01-01", 5)


async def refused(call: Call, *args: Any, **named: Any) -> None:
    """Check that a call with one argument out of bounds is refused by its name."""
    ((name, _),) = named.items()
    with pytest.raises(ValidationError, match=name) as caught:
        await call(*args, **named)
    assert caught.value.operation == call.__name__
    assert not caught.value.retryable


async def check_pages(call: Call, *args: Any) -> None:
    """Check the bounds of `limit` and `offset`, and that both ends are allowed."""
    for limit in LIMITS:
        await refused(call, *args, limit=limit)
    for offset in OFFSETS:
        await refused(call, *args, offset=offset)
    await call(*args, limit=1_000, offset=10_000)
    await call(*args, limit=1, offset=0)


async def check_vectors(call: Call, *args: Any) -> None:
    """Check the bounds of a query vector and of `min_score`."""
    for vector in VECTORS:
        with pytest.raises(ValidationError, match="query_embedding"):
            await call(vector, *args)
    for score in SCORES:
        await refused(call, [1.0], *args, min_score=score)
    for score in (-1.0, 1, 0.5):
        await call([1.0] * 4_000, *args, min_score=score)


class SessionArgumentContract(StoreContract):
    """Arguments of session stores."""

    async def test_limits_and_offsets_are_bounded(self, store: SessionStore) -> None:
        await check_pages(store.list_by_agent, uuid4(), uuid4())
        await check_pages(store.list_by_customer, uuid4(), uuid4())
        await check_pages(store.find_sessions_by_step_hash, uuid4(), uuid4(), 1, "hash")

    async def test_other_arguments_are_bounded(self, store: SessionStore) -> None:
        for wrong in ("id", None, 5):
            await refused(store.get, session_id=wrong)
        for text in ("", "x" * 513, "a\x00b", "\ud800", 5):
            await refused(store.get_by_channel, uuid4(), Channel.SMS, user_channel_id=text)
        await refused(store.list_by_agent, uuid4(), uuid4(), status="sleeping")
        for version in (0, True, "1", 2**31):
            with pytest.raises(ValidationError, match="scenario_version"):
                await store.find_sessions_by_step_hash(uuid4(), uuid4(), version, "hash")  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="session"):
            await store.save({"session_id": uuid4()})  # type: ignore[arg-type]

    async def test_a_deadline_can_be_given_per_call(self, store: SessionStore) -> None:
        assert await store.within(30.0).get(uuid4()) is None
        assert await store.health_check() is True


class ConfigArgumentContract(StoreContract):
    """Arguments of configuration stores."""

    async def test_limits_and_offsets_are_bounded(self, store: ConfigStore) -> None:
        for declaration in CONFIG:
            owner = (uuid4(),) if declaration.owner else ()
            await check_pages(getattr(store, declaration.listed), uuid4(), *owner)

    async def test_query_vectors_and_scores_are_bounded(self, store: ConfigStore) -> None:
        await check_pages(store.vector_search_rules, [1.0], uuid4(), uuid4())
        await check_vectors(store.vector_search_rules, uuid4(), uuid4())
        for limit in LIMITS:
            await refused(store.search_rules, "tea", [1.0], uuid4(), uuid4(), limit=limit)
        for vector in VECTORS:
            with pytest.raises(ValidationError, match="query_embedding"):
                await store.search_rules("tea", vector, uuid4(), uuid4())

    async def test_other_arguments_are_bounded(self, store: ConfigStore) -> None:
        for name in ("", "Upper", "1st", "x" * 51, "a-b", "a\n"):
            await refused(store.get_variable_by_name, uuid4(), uuid4(), name=name)
        for tool in ("", "x" * 201, "\x00"):
            await refused(store.get_tool_activation, uuid4(), uuid4(), tool_id=tool)
        for flag in (1, "yes", None):
            await refused(store.get_rules, uuid4(), uuid4(), enabled_only=flag)
        for moment in TIMES:
            await refused(store.purge_deleted, uuid4(), before=moment)
        await refused(store.get_rules, uuid4(), uuid4(), unknown=1)
        assert await store.health_check() is True


class MemoryArgumentContract(StoreContract):
    """Arguments of memory stores."""

    async def test_limits_and_offsets_are_bounded(self, store: MemoryStore) -> None:
        for call in (store.get_episodes, store.get_entities, store.get_relationships):
            await check_pages(call, uuid4(), uuid4())

    async def test_query_vectors_and_scores_are_bounded(self, store: MemoryStore) -> None:
        await check_pages(store.vector_search_episodes, [1.0], uuid4(), uuid4())
        await check_vectors(store.vector_search_episodes, uuid4(), uuid4())
        await check_pages(store.text_search_episodes, "tea", uuid4(), uuid4())
        for query in ("a\x00b", "\udfff", "x" * (2**20 + 1), None):
            with pytest.raises(ValidationError, match="query"):
                await store.text_search_episodes(query, uuid4(), uuid4())  # type: ignore[arg-type]

    async def test_traversal_is_bounded(self, store: MemoryStore) -> None:
        for depth in (0, 11, True, 1.0, None):
            await refused(store.traverse_from_entities, uuid4(), [uuid4()], max_depth=depth)
        await refused(store.traverse_from_entities, uuid4(), [uuid4()], relationship_types=[""])
        await refused(store.traverse_from_entities, uuid4(), entity_ids=["x"])
        for moment in TIMES:
            await refused(store.traverse_from_entities, uuid4(), [uuid4()], as_of=moment)
        assert await store.health_check() is True


class AuditArgumentContract(StoreContract):
    """Arguments of audit stores."""

    async def test_limits_and_offsets_are_bounded(self, store: AuditStore) -> None:
        await check_pages(store.list_turns_by_session, uuid4(), uuid4())
        await check_pages(store.list_turns_by_tenant, uuid4())
        await check_pages(store.list_turns_by_customer, uuid4(), uuid4())
        await check_pages(store.list_events, uuid4())
        await check_pages(store.list_events_by_customer, uuid4(), uuid4())
        await check_pages(store.list_records, uuid4())
        await check_pages(store.list_heads, uuid4())
        await check_pages(store.list_bodies, uuid4())

    async def test_windows_are_moments_with_a_zone(self, store: AuditStore) -> None:
        for call in (store.list_turns_by_tenant, store.list_events):
            for moment in TIMES:
                await refused(call, uuid4(), since=moment)
                await refused(call, uuid4(), until=moment)
        assert await store.health_check() is True


class ProfileArgumentContract(StoreContract):
    """Arguments of profile stores."""

    async def test_limits_and_offsets_are_bounded(self, store: ProfileStore) -> None:
        await check_pages(store.list_profiles, uuid4())

    async def test_other_arguments_are_bounded(self, store: ProfileStore) -> None:
        for call in (store.get_or_create, store.get_by_channel_identity):
            for text in ("", "x" * 513, "\x00", None):
                await refused(call, uuid4(), Channel.SMS, channel_user_id=text)
            for channel in ("pigeon", 5):
                with pytest.raises(ValidationError, match="channel"):
                    await call(uuid4(), channel, "1")  # type: ignore[arg-type]
        await refused(store.update_field, uuid4(), uuid4(), field={"name": "x"})
        await refused(store.merge_profiles, uuid4(), uuid4(), target_id="x")
        for moment in TIMES:
            await refused(store.purge_deleted, uuid4(), before=moment)
        assert await store.list_profiles(uuid4()) == []
        assert await store.health_check() is True
