"""One connection that concurrent calls share: who travels with whom, and that nobody suffers from another's fate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from convostore.call.call import Call, running
from convostore.call.effects import Effect
from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.redis import RedisSessionStore, create_client, driver, multiplexing
from convostore.redis.connection import Connection
from convostore.redis.routing import Servers
from convostore.redis.servers import servers_of
from convostore.testing.factories import make_session
from tests.processes import until
from tests.redis.scripted import ScriptedServer, scripted_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedServer]:
    async with scripted_server(tmp_path / "server") as opened:
        yield opened


@pytest.fixture
async def servers(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Servers]:
    async with create_client(f"unix://{tmp_path}/server") as client:
        yield servers_of(client, coalesce=True)


def asking(servers: Servers, name: str) -> asyncio.Task[Any]:
    """Start to GET a key."""
    return asyncio.create_task(servers.on(name, lambda connection: connection.execute("GET", name)))


async def steps() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def under_way(server: ScriptedServer, servers: Servers) -> AsyncIterator[asyncio.Task[Any]]:
    """Start a call, whose round trip is under way during a block."""
    first = asking(servers, "first")
    await server.expect(1)
    yield first


async def test_calls_that_arrive_during_a_round_trip_leave_together_in_the_next(
    server: ScriptedServer, servers: Servers
) -> None:
    async with under_way(server, servers) as first:
        others = [asking(servers, f"other {number}") for number in range(5)]
        await steps()
        assert len(server.arrived[0]) == 1
    server.answer(b"+one\r\n")
    _, second = await server.expect(6)
    assert [command[1] for command in second] == [b"other %d" % number for number in range(5)]
    server.answer(*(b"+%d\r\n" % number for number in range(5)))
    assert await first == b"one"
    assert await asyncio.gather(*others) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(server.arrived) == 1


async def test_a_round_trip_is_bounded_in_calls_and_in_bytes(
    server: ScriptedServer, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplexing, "_MOST_REQUESTS", 3)
    monkeypatch.setattr(multiplexing, "_MOST_BYTES", 1_000)
    async with under_way(server, servers) as first:
        others = [asking(servers, f"{number}") for number in range(4)]
        long = [asking(servers, letter * 800) for letter in "ab"]
        await steps()
    for trip, total in ((1, 1), (3, 4), (2, 6), (1, 7)):
        assert len((await server.expect(total))[-1]) == trip
        server.answer(*[b"+\r\n"] * trip)
    await asyncio.gather(first, *others, *long)


async def test_a_reply_whose_caller_has_left_goes_to_nobody(server: ScriptedServer, servers: Servers) -> None:
    async with under_way(server, servers) as first:
        others = [asking(servers, name) for name in "abc"]
        await steps()
    server.answer(b"+one\r\n")
    await server.expect(4)
    others[1].cancel()
    await steps()
    server.answer(b"+a\r\n", b"+b\r\n", b"+c\r\n")
    assert (await first, await others[0], await others[2]) == (b"one", b"a", b"c")
    assert others[1].cancelled()
    assert len(server.arrived) == 1


async def test_a_caller_that_leaves_before_the_round_trip_sends_nothing(
    server: ScriptedServer, servers: Servers
) -> None:
    async with under_way(server, servers) as first:
        gone, stays = asking(servers, "gone"), asking(servers, "stays")
        await steps()
        gone.cancel()
        await steps()
    server.answer(b"+one\r\n")
    _, second = await server.expect(2)
    assert [command[1] for command in second] == [b"stays"]
    server.answer(b"+two\r\n")
    assert (await first, await stays) == (b"one", b"two")


async def test_the_socket_is_aborted_when_the_last_caller_has_left(server: ScriptedServer, servers: Servers) -> None:
    async with under_way(server, servers) as first:
        second = asking(servers, "second")
        await steps()
        first.cancel()
        await steps()
    server.answer(b"+one\r\n")
    await server.expect(2)
    second.cancel()
    await steps()
    again = asking(servers, "again")
    assert await server.expect(1, connection=1) == [[[b"GET", b"again"]]]
    server.answer(b"+again\r\n", connection=1)
    assert await again == b"again"


async def test_what_was_not_sent_goes_to_another_connection_and_what_was_fails(
    server: ScriptedServer, servers: Servers
) -> None:
    async with under_way(server, servers) as first:
        second = asking(servers, "second")
        await steps()
        server.close()
    await server.expect(1, connection=1)
    server.answer(b"+two\r\n", connection=1)
    assert await second == b"two"
    with pytest.raises(StoreError) as lost:
        await first
    assert (lost.value.code, lost.value.outcome, lost.value.retryable) == ("connection", "unknown", True)


async def test_only_the_calls_that_were_sent_may_have_been_applied(server: ScriptedServer, servers: Servers) -> None:
    calls = [Call("session", "save", None, {}, uuid4(), 1e9, Effect.IDEMPOTENT) for _ in range(2)]
    tasks = []
    for call in calls:
        token = running.set(call)
        tasks.append(asking(servers, "key"))
        running.reset(token)
        await steps()
    await server.expect(1)
    assert [call.sent for call in calls] == [True, False]
    server.answer(b"+one\r\n")
    await server.expect(2)
    assert [call.sent for call in calls] == [True, True]
    server.answer(b"+two\r\n")
    await asyncio.gather(*tasks)


async def test_a_round_trip_that_takes_long_holds_up_no_other(server: ScriptedServer, servers: Servers) -> None:
    async with under_way(server, servers) as first:
        gathered = asking(servers, "gathered")
        await steps()
        assert servers._shared is not None
        servers._shared.open[None]._sent_at -= 2 * multiplexing._PATIENCE
        later = asking(servers, "later")
        await server.expect(1, connection=1)
        server.answer(b"+x\r\n", connection=1)
        await server.expect(2, connection=1)
        server.answer(b"+x\r\n", connection=1)
        assert (await gathered, await later) == (b"x", b"x")
        assert not first.done()
    server.answer(b"+late\r\n")
    assert await first == b"late"


async def test_after_a_replica_refuses_a_write_the_next_call_connects_anew(
    server: ScriptedServer, servers: Servers
) -> None:
    async with under_way(server, servers) as first:
        server.answer(b"-READONLY You can't write against a read only replica.\r\n")
        with pytest.raises(StoreError) as refused:
            await first
    assert refused.value.code == "READONLY"
    again = asking(servers, "again")
    await server.expect(1, connection=1)
    server.answer(b"+new\r\n", connection=1)
    assert await again == b"new"


@pytest.mark.parametrize("garbage", [b"-ERR max number of clients reached\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
async def test_a_socket_on_which_something_arrives_unasked_is_not_used(
    server: ScriptedServer, servers: Servers, garbage: bytes
) -> None:
    async with under_way(server, servers) as first:
        server.answer(b"+one\r\n")
        assert await first == b"one"
    server.answer(garbage)
    shared = servers._shared
    assert shared is not None
    await until(lambda: not shared.open, "the socket is closed")
    again = asking(servers, "again")
    await server.expect(1, connection=1)
    server.answer(b"+two\r\n", connection=1)
    assert await again == b"two"


async def test_more_than_two_commands_travel_on_a_connection_of_their_own(
    server: ScriptedServer, servers: Servers
) -> None:
    async with under_way(server, servers) as first:
        many = asyncio.create_task(servers.send([("GET", str(number)) for number in range(3)]))
        await server.expect(3, connection=1)
        server.answer(*[b"+x\r\n"] * 3, connection=1)
        assert await many == [b"x"] * 3
        server.answer(b"+one\r\n")
        await first


async def test_a_client_of_one_connection_does_not_share_it(engines: Embedded) -> None:
    async with create_client(engines.redis_url, max_connections=1) as client:
        store, session = RedisSessionStore(client), make_session(uuid4())
        await store.save(session)
        assert await store.list_by_agent(session.tenant_id, session.agent_id) == [session]
        assert await store.get(session.session_id) == session
        assert driver.use_of(client) == (0, 1, 1)


async def test_all_stores_on_a_client_share_one_connection(client: Redis) -> None:
    session = make_session(uuid4())
    for _ in range(20):
        store = RedisSessionStore(client)
        await store.save(session)
        assert await store.get(session.session_id) == session
    assert driver.use_of(client).used == 1


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_are_those_of_a_connection_of_ones_own(engines: Embedded, protocol: int) -> None:
    commands = [("EVAL", "return {'text', 1, false, {1, 2}}", 0), ("NONSENSE",)]

    async def exchanged(connection: Connection) -> list[Any]:
        return await connection.exchange(commands)

    async with create_client(f"{engines.redis_url}?protocol={protocol}&decode_responses=true") as client:
        (one, refused), (other, refused_as_well) = [
            await servers_of(client, coalesce=coalesce).on("key", exchanged) for coalesce in (True, False)
        ]
    assert one == other == [b"text", 1, None, [1, 2]]
    assert type(refused) is type(refused_as_well)
    assert driver.reply_of(refused) == driver.reply_of(refused_as_well)


async def test_cancelled_calls_leave_no_reply_behind(client: Redis) -> None:
    store, sessions = RedisSessionStore(client), [make_session(uuid4()) for _ in range(40)]
    await asyncio.gather(*map(store.save, sessions))
    for _ in range(30):
        calls = [asyncio.create_task(store.get(session.session_id)) for session in sessions]
        for _ in range(random.randrange(12)):
            await asyncio.sleep(0)
        share = random.choice((0.3, 0.9, 1.0))
        for call in calls:
            if random.random() < share:
                call.cancel()
        for session, found in zip(sessions, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            assert found == session or isinstance(found, asyncio.CancelledError)
    assert await asyncio.gather(*(store.get(session.session_id) for session in sessions)) == sessions


async def test_a_closed_client_ends_its_shared_connection(engines: Embedded) -> None:
    async with create_client(engines.redis_url) as client:
        store = RedisSessionStore(client)
        await store.get(uuid4())
    with pytest.raises(StoreError) as closed:
        await store.get(uuid4())
    assert closed.value.outcome == "not_applied"
