"""What the stores rely on in asyncpg, one test per reliance: a release that passes these tests can be used."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any
from weakref import ref

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from convostore.embedded import Embedded
from convostore.postgres import driver
from convostore.postgres.pool import decode_vector, encode_vector
from tests.postgres.blocking import blocking, gone, single, waiting
from tests.postgres.databases import connected

LOCK = "SELECT pg_advisory_lock(77)"
WAIT = "SELECT pg_advisory_xact_lock(77), $1::text"


@pytest.fixture
async def admin(engines: Embedded) -> AsyncIterator[Any]:
    """A superuser's connection, on which types may be made up and dropped."""
    async with connected(engines.postgres_dsn) as connection:
        yield connection


async def test_a_connection_goes_back_to_its_pool_without_a_statement(engines: Embedded, admin: Any) -> None:
    last = "SELECT query FROM pg_stat_activity WHERE pid = $1"
    async with single(engines.postgres_dsn) as (pool, pid):
        assert await pool.fetchval("SELECT 'the last one'") == "the last one"
        async with pool.acquire() as connection:
            assert isinstance(driver.physical(connection), driver.UnresetConnection)
        assert await admin.fetchval(last, pid) == "SELECT 'the last one'"


async def test_a_connection_is_given_back_at_once_and_goes_to_the_one_who_has_waited_longest(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        served: list[str] = []

        async def serve(name: str) -> None:
            connection = await driver.acquire(pool)
            served.append(name)
            await driver.release(pool, connection)

        with pytest.raises(StopIteration):
            serve("nobody waits").send(None)  # Nothing suspends it.
        async with pool.acquire():
            waiting = [asyncio.create_task(serve(name)) for name in ("first", "gives up", "second")]
            await asyncio.sleep(0)
            waiting[1].cancel()
        # Comes when the connection is free again, and the first has not run yet.
        await serve("last")
        await asyncio.wait(waiting)
        assert served == ["nobody waits", "first", "second", "last"]
        assert (pool.get_size(), pool.get_idle_size()) == (1, 1)


async def test_one_who_gives_up_when_a_connection_has_come_leaves_it_to_the_next(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        connection = await driver.acquire(pool)
        waiting = [asyncio.create_task(driver.acquire(pool)) for _ in range(2)]
        await asyncio.sleep(0)
        await driver.release(pool, connection)
        waiting[0].cancel()
        found = await waiting[1]
        assert waiting[0].cancelled()
        assert await found.fetchval("SELECT pg_backend_pid()") == pid
        await driver.release(pool, found)


async def test_a_connection_that_was_given_back_is_closed_when_it_stays_idle(engines: Embedded) -> None:
    opening = asyncpg.create_pool(
        engines.postgres_dsn,
        min_size=0,
        max_size=1,
        max_inactive_connection_lifetime=0.05,
        connection_class=driver.UnresetConnection,
    )
    async with opening as pool:
        connection = await driver.acquire(pool)
        closed = asyncio.Event()
        driver.physical(connection).add_termination_listener(lambda _: closed.set())
        await driver.release(pool, connection)
        async with asyncio.timeout(20):
            await closed.wait()
        assert pool.get_size() == 0
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_connection_that_has_run_its_number_of_statements_is_replaced(engines: Embedded) -> None:
    opening = asyncpg.create_pool(
        engines.postgres_dsn, min_size=0, max_size=1, max_queries=2, connection_class=driver.UnresetConnection
    )
    async with opening as pool:
        pids = []
        for _ in range(3):
            connection = await driver.acquire(pool)
            pids.append(await connection.fetchval("SELECT pg_backend_pid()"))
            await driver.release(pool, connection)
        assert len({*pids}) > 1


async def test_a_pool_closes_when_the_last_connection_has_been_given_back(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        connection = await driver.acquire(pool)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        with pytest.raises(asyncpg.InterfaceError):
            await driver.acquire(pool)
        assert not closing.done()
        await driver.release(pool, connection)
        await closing


async def test_a_connection_that_cannot_be_opened_takes_no_place_in_its_pool(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        driver.abort(await driver.acquire(pool))
        pool.set_connect_args("postgresql://127.0.0.1:1/nowhere")
        for _ in range(2):
            async with asyncio.timeout(20):
                with pytest.raises(OSError, match="Connect call failed"):
                    await driver.acquire(pool)


async def test_a_connection_that_needs_a_reset_is_given_back_in_the_pool_s_own_way(engines: Embedded) -> None:
    async with asyncpg.create_pool(engines.postgres_dsn, min_size=0, max_size=1) as pool:
        connection = await driver.acquire(pool)
        await connection.execute("SET convostore.tenant = 'left behind'")
        await driver.release(pool, connection)
        assert await pool.fetchval("SELECT current_setting('convostore.tenant', true)") in ("", None)


async def test_the_physical_connection_is_the_same_until_its_socket_is_closed(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _):
        async with pool.acquire() as first:
            physical = ref(driver.physical(first))
        async with pool.acquire() as second:
            assert second is not first
            assert driver.physical(second) is physical() is not None
            driver.abort(second)
        async with pool.acquire() as third:
            assert driver.physical(third) is not physical()
        del first, second
        gc.collect()
        assert physical() is None


async def test_aborting_does_not_wait_for_the_server_and_the_pool_opens_another(engines: Embedded, admin: Any) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        async with blocking(engines.postgres_dsn, LOCK):
            connection = await pool.acquire()
            query = asyncio.create_task(connection.fetchval(WAIT, ""))
            await waiting(admin, pid)
            driver.abort(connection)
            with pytest.raises(asyncpg.PostgresConnectionError):
                await query
            await pool.release(connection)
            assert await pool.fetchval("SELECT pg_backend_pid()") != pid
            assert pool.get_size() == 1
        await gone(admin, pid)


async def test_pipelined_statements_return_the_rows_of_all_in_order(engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _), pool.acquire() as connection:
        rows = await driver.fetch_pipelined(
            connection, "SELECT n FROM generate_series(1, $1::integer) AS n", ((n,) for n in range(4))
        )
        assert [n for (n,) in rows] == [1, 1, 2, 1, 2, 3]
        assert await driver.fetch_pipelined(connection, "SELECT $1::integer", ()) == []


async def test_pipelined_statements_are_one_transaction(admin: Any, engines: Embedded) -> None:
    async with single(engines.postgres_dsn) as (pool, _), pool.acquire() as connection:
        same = "SELECT pg_current_xact_id()::text, 6 / $1::integer"
        transactions = await driver.fetch_pipelined(connection, same, [(1,), (2,), (3,)])
        assert len({transaction for transaction, _ in transactions}) == 1
        with pytest.raises(asyncpg.DivisionByZeroError):
            await driver.fetch_pipelined(connection, same, [(1,), (0,), (2,)])
        assert await connection.fetchval("SELECT pg_current_xact_id_if_assigned()") is None


@pytest.mark.parametrize("ending", ["cancelled", "aborted", "lost"])
async def test_pipelined_statements_that_fill_the_socket_end_with_their_caller_or_connection(
    engines: Embedded, admin: Any, ending: str
) -> None:
    async with single(engines.postgres_dsn) as (pool, pid):
        async with blocking(engines.postgres_dsn, LOCK):
            connection = await pool.acquire()
            many = (("x" * 1_000_000,) for _ in range(100))
            call = asyncio.create_task(driver.fetch_pipelined(connection, WAIT, many))
            await waiting(admin, pid)
            if ending == "cancelled":
                call.cancel()
            elif ending == "aborted":
                driver.abort(connection)
            else:
                assert await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
            async with asyncio.timeout(10):
                (outcome,) = await asyncio.gather(call, return_exceptions=True)
            cancelled = ending == "cancelled"
            assert isinstance(outcome, asyncio.CancelledError if cancelled else asyncpg.ConnectionDoesNotExistError)
            driver.abort(connection)
            await pool.release(connection)
        await gone(admin, pid)


async def test_a_codec_converts_values_and_the_elements_of_arrays(admin: Any) -> None:
    await driver.use_codec(admin, "vector", "public", encode_vector, decode_vector)
    assert await admin.fetchval("SELECT $1::vector", [1.0, 2.0]) == [1.0, 2.0]
    array = "SELECT v FROM unnest($1::vector[]) AS v"
    assert await admin.fetch(array, [encode_vector([1.0]), encode_vector([2.0, 3.0])]) == [([1.0],), ([2.0, 3.0],)]
    with pytest.raises(asyncpg.DataError):
        await admin.fetch(array, [[1.0], [2.0, 3.0]])


async def test_an_argument_that_the_driver_cannot_encode_is_an_error_of_class_22(admin: Any) -> None:
    with pytest.raises(asyncpg.PostgresError) as unencodable:
        await admin.fetchval("SELECT $1::integer", "one")
    assert unencodable.value.sqlstate == "22000"


async def test_the_drivers_error_lies_beneath_that_of_sqlalchemy(engines: Embedded) -> None:
    async def connect(*_: Any, **__: Any) -> Any:
        return await asyncpg.connect(engines.postgres_dsn)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError) as refused:
            await connection.execute(text("SELECT 1 / 0"))
    await engine.dispose()
    assert isinstance(driver.beneath(refused.value), asyncpg.DivisionByZeroError)


async def test_no_pooler_stands_between_where_the_process_is_the_server_s_own(server: Embedded) -> None:
    connection = await asyncpg.connect(server.postgres_dsn)
    try:
        assert not await driver.is_pooled(connection)
    finally:
        await connection.close()
