"""The recorder that monitors the whole suite detects forbidden commands."""

from __future__ import annotations

from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.embedded import Embedded
from convostore.redis import RedisSessionStore, keys
from convostore.testing.factories import make_session
from tests.redis import administration
from tests.redis.recording import Recorder, recording

ONE, OTHER = (f"{bucket}key" for bucket in keys.BUCKETS[:2])


@pytest.mark.parametrize(
    "command",
    [
        ("SCAN", "0"),
        ("keys", "*"),
        ("FLUSHDB",),
        ("MULTI",),
        ("MGET", ONE, OTHER),
        ("EVAL", "return redis.call('GET', KEYS[1])", "2", ONE, OTHER),
        ("EVAL", "return redis.call('KEYS', '*')", "0"),
        ("EVAL", f"redis.call('GET', KEYS[1]) return redis.call('GET', '{OTHER}')", "1", ONE),
    ],
)
async def test_a_forbidden_command_fails_the_recording(
    own: Embedded, own_client: Redis, command: tuple[str, ...]
) -> None:
    with pytest.raises(AssertionError, match="tests/redis/administration"), recording(path_of(own)):
        await own_client.execute_command(*command)  # type: ignore[no-untyped-call]


async def test_a_store_and_marked_commands_of_tests_pass(own: Embedded, own_client: Redis) -> None:
    with recording(path_of(own)) as recorder:
        await RedisSessionStore(own_client).save(make_session(uuid4()))
        assert len(await administration.all_keys(own_client)) == 4
        assert await administration.random_key(own_client)
        await administration.flush(own_client)
    assert isinstance(recorder, Recorder)
    assert recorder.seen > 10


def path_of(engines: Embedded) -> str:
    return engines.redis_url.removeprefix("unix://")
