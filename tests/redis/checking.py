"""A checker of a whole database: its keys are exactly those that follow from the stored sessions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias
from uuid import UUID

from convostore.models import Session
from convostore.redis import codec, keys
from convostore.redis.identities import CLAIM_TTL
from tests.redis.administration import all_keys

Keys: TypeAlias = dict[str, dict[str, float | None]]
"""Members by key, with their scores; None in an unsorted set."""


def expected_of(values: dict[str, bytes]) -> Keys:
    """Return the indexes and channel pointers that follow from stored values."""
    expected: Keys = defaultdict(dict)
    for key, value in values.items():
        session = codec.Codec().decode(value, None, UUID(key[-36:]))
        assert isinstance(session, Session)
        assert key == keys.value_key(session.session_id)
        member, prefix = str(session.session_id), keys.bucket(session.session_id)
        score = float(-codec.microseconds(session.last_activity_at))
        for index in keys.indexes_of(session):
            expected[f"{prefix}{index}"][member] = score
        expected[f"{prefix}{'cold' if codec.is_demoted(value) else 'hot'}"][member] = score
        pointer = codec.pointer_of(session)
        expected[pointer.key][pointer.member(session.session_id)] = score
    return dict(expected)


async def contents(client: Any) -> tuple[dict[str, bytes], Keys]:
    """Return the values of a database, and its actual indexes and channel pointers."""
    values: dict[str, bytes] = {}
    found: Keys = {}
    for name in await all_keys(client):
        key, kind = name.decode(), (await client.type(name)).decode()
        if ":lock:" in key or ":fence:" in key:
            await check_lock(client, key)
        elif ":claim:" in key:
            assert 0 < await client.pttl(key) <= CLAIM_TTL.total_seconds() * 1_000, key
        elif kind == "string":
            values[key] = await client.get(name)
        elif kind == "set":
            answer = await client.smembers(name)
            found[key] = {member.decode(): None for member in answer}
        else:
            assert kind == "zset", key
            answer = await client.zrange(name, 0, -1, withscores=True)
            found[key] = {member.decode(): score for member, score in answer}
    return values, found


async def check_lock(client: Any, key: str) -> None:
    """Check the key of a lock or a fencing token: its session exists; a lock expires, its token does not."""
    prefix, kind, session_id = key.rsplit(":", 2)
    assert await client.exists(f"{prefix}:session:{session_id}"), key
    assert int(await client.get(f"{prefix}:fence:{session_id}")) > 0, key
    assert (await client.pttl(key) == -1) == (kind == "fence"), key


def entries(keys: Keys) -> set[tuple[str, str, float | None]]:
    """Return every entry with its key."""
    return {(key, member, score) for key, members in keys.items() for member, score in members.items()}


def without_pointers(keys: Keys) -> Keys:
    """Return the keys that share a slot with a session: all but the channel pointers."""
    return {key: members for key, members in keys.items() if not key.endswith((":open", ":closed"))}


async def check(client: Any, *, settled: bool = True) -> int:
    """Compare every key of a database with those that follow from its sessions; return how many sessions there are.

    Args:
        client: of the database.
        settled: whether calls were sequential. If not, a channel pointer may be stale, which reads verify, or have the
            score of another save; but none may be missing.
    """
    values, found = await contents(client)
    expected = expected_of(values)
    assert {await client.ttl(key) for key in (*values, *found)} <= {-1}, "something would expire"
    if not settled:
        pointers = {(key, member) for key, members in expected.items() for member in members}
        lost = pointers - {(key, member) for key, members in found.items() for member in members}
        assert lost == set(), f"missing: {lost}"
        expected, found = without_pointers(expected), without_pointers(found)
    missing, besides = entries(expected) - entries(found), entries(found) - entries(expected)
    assert (missing, besides) == (set(), set()), f"missing: {missing}; besides: {besides}"
    return len(values)
