"""The distribution of keys on a cluster: any number of primaries hold equal numbers of buckets."""

from __future__ import annotations

from collections import Counter
from itertools import product
from string import ascii_lowercase
from uuid import uuid4

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from convostore.redis import keys


@pytest.mark.parametrize("primaries", range(1, 17))
def test_primaries_hold_equal_numbers_of_buckets_give_or_take_one(primaries: int) -> None:
    slots = [key_slot(bucket.encode()) for bucket in keys.BUCKETS]
    buckets = Counter(slot * primaries // REDIS_CLUSTER_HASH_SLOTS for slot in slots)
    assert len(buckets) == primaries
    assert max(buckets.values()) - min(buckets.values()) <= 1


def test_tags_are_the_first_words_that_hash_to_the_middles_of_equal_ranges() -> None:
    words = map("".join, product("abcde", ascii_lowercase, ascii_lowercase, ascii_lowercase))
    slots: dict[int, str] = {}
    for word in words:
        slots.setdefault(key_slot(word.encode()), word)
    assert tuple(slots[256 * number + 128] for number in range(64)) == keys.TAGS


def test_sessions_are_distributed_uniformly_over_buckets() -> None:
    sessions = Counter(keys.bucket(uuid4()) for _ in range(64_000))
    assert set(sessions) == set(keys.BUCKETS)
    # 1,000 on average; eight standard deviations of a Poisson variable.
    assert all(750 < count < 1_250 for count in sessions.values())


def test_a_name_is_an_id_or_that_of_a_tenant_and_is_read_back_only_in_its_own_form() -> None:
    session, tenant, agent = uuid4(), uuid4(), uuid4()
    for name in (session, keys.OfTenant(tenant, session)):
        member = str(name).encode()
        assert keys.name_in(member, keys.bucket(session)) == name
        assert keys.id_of(name) == session
        pointer = keys.Pointer("", agent).member(name).encode()
        assert keys.pointed(pointer) == (name, agent)
        for damaged in (b"", b":", member + b"0", member.upper() + b":", b":" + member, b"x:" + member, member[:-1]):
            assert keys.name_in(damaged) is None, damaged
