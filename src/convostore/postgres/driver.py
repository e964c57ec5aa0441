"""What the stores rely on in asyncpg beyond its documented interface: each reliance is named, explained and tested.

Nothing else in convostore touches the driver's internals. Tests: tests/postgres/test_driver.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from traceback import walk_tb
from typing import Any, Literal, TypeAlias

import asyncpg
from asyncpg.connect_utils import _parse_connect_arguments  # type: ignore[attr-defined]

Pooler: TypeAlias = Literal["session", "transaction"]
"""For how long a pooler keeps a session of the server for a connection."""


class UnresetConnection(asyncpg.Connection):
    """A connection that is returned to its pool as it is: the stores leave no state behind, and a reset costs a trip.

    Relies on: a pool sends what `get_reset_query` returns, and nothing if that is empty.
    """

    pooler: Pooler | None = None
    """The mode of the pooler that was said to stand between."""

    def get_reset_query(self) -> str:
        return ""


class SessionConnection(UnresetConnection):
    """A connection by way of a pooler that keeps a session of the server for it."""

    pooler = "session"


class TransactionConnection(UnresetConnection):
    """A connection by way of a pooler that may give each transaction another session, so what a session has is lost."""

    pooler = "transaction"


def pooler_of(connection: Any) -> Pooler | None:
    """Return the mode of the pooler that was said to stand between when the connection's pool was created."""
    found: Pooler | None = getattr(physical(connection), "pooler", None)
    return found


async def is_pooled(connection: Any) -> bool:
    """Return whether a pooler stands between.

    Relies on: a pooler tells a number of its own as the process that cancel requests are for.
    """
    return bool(connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"))


def is_tls_refused(error: ConnectionError) -> bool:
    """Return whether a connection failed because the server does not speak TLS.

    Relies on: asyncpg raises a `ConnectionError` that says so.
    """
    return "rejected SSL upgrade" in str(error)


def release_of(connection: Any) -> str:
    """Return the release of the server behind a connection, such as `"18.4"`.

    Relies on: since PostgreSQL 10, `get_server_version` has the number of the minor release as `micro`.
    """
    version = connection.get_server_version()
    return f"{version.major}.{version.micro}"


def resets(connection: Any) -> bool:
    """Return whether a connection forgets its settings when it is given back to its pool.

    Relies on: a pool sends what `get_reset_query` returns, and nothing if that is empty.
    """
    return bool(connection.get_reset_query())


def parsed(dsn: str) -> tuple[list[tuple[str, int] | str], str]:
    """Return the addresses and the database that a URL leads to, after the environment and what it names were read.

    Relies on: `_parse_connect_arguments` returns addresses, a path for a Unix socket's, and parameters with `database`.

    Raises:
        ValueError, OSError, asyncpg.InterfaceError: the URL, or a file that it names, cannot be used.
    """
    names = signature(_parse_connect_arguments).parameters
    sizes = {name: 0 for name in names if name.endswith(("_size", "_lifetime"))}
    addresses, parameters, _ = _parse_connect_arguments(**{**dict.fromkeys(names), **sizes, "dsn": dsn})
    return addresses, parameters.database


def serve_in_order(pool: Any) -> None:
    """Let a new pool hand a connection that comes back to the caller who has waited longest.

    Of itself it wakes that caller, who finds nothing and queues up again at the end if another has come in between.

    Relies on: a pool keeps a holder of each connection in `_holders`, and those that nobody uses in the queue `_queue`.
    """
    pool._queue = _in_order(type(pool._queue))(pool.get_max_size())
    for holder in pool._holders:
        pool._queue.put_nowait(holder)


def _in_order(kind: type[asyncio.Queue[Any]]) -> type[asyncio.Queue[Any]]:
    """Return a kind of queues whose items go to those who wait, in their order.

    Relies on: `_getters` are those who wait, as futures.
    """

    class InOrder(kind):  # type: ignore[misc, valid-type]
        def put_nowait(self, item: Any) -> None:
            while self._getters:
                getter = self._getters.popleft()
                if not getter.done():
                    getter.set_result(item)
                    return
            super().put_nowait(item)

        async def get(self) -> Any:
            if not self.empty():
                return self.get_nowait()
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                return await getter
            except asyncio.CancelledError:
                if not getter.cancelled():
                    self.put_nowait(getter.result())
                raise

    return InOrder


async def acquire(pool: Any) -> Any:
    """Return a connection of a pool, the one that came back last, as its own `acquire` does.

    Relies on: `acquire` of a holder opens its connection if need be; if that fails, it belongs back into the queue.
    """
    if not _without_reset(pool):
        return await pool.acquire()
    if pool.is_closing():
        raise asyncpg.InterfaceError("pool is closing")
    holder = await pool._queue.get()
    try:
        return await holder.acquire()
    except BaseException:
        pool._queue.put_nowait(holder)
        raise


async def release(pool: Any, connection: Any) -> None:
    """Give a connection back to its pool: at once if it needs no reset, for which the pool's own way takes a task.

    Relies on: `_release` of a holder puts it into the queue, and `_setup_inactive_callback` starts the time after which
    an idle connection is closed. A connection that was lost or aborted is not the holder's any more, and one that has
    run `_max_queries` is replaced.
    """
    raw, holder = connection._con, connection._holder
    if raw is None or raw.is_closed() or raw._protocol.queries_count >= holder._max_queries or not _without_reset(pool):
        await pool.release(connection)
        return
    holder._release()
    holder._setup_inactive_callback()


def _without_reset(pool: Any) -> bool:
    return issubclass(pool._connection_class, UnresetConnection)


def physical(connection: Any) -> Any:
    """Return the connection behind what a pool has handed out; it lives as long as its socket.

    Relies on: `acquire` returns a proxy, a new one each time, which holds the connection as `_con`.
    """
    return connection._con


def abort(connection: Any) -> None:
    """Close a connection without asking the server to cancel, and without waiting for it.

    Relies on: `terminate` closes the socket at once, also while a query runs, and the pool replaces the connection. A
    cancelled query would send a cancel request and wait for the reply, in a network that drops packets for ever. A
    connection that is lost has gone back to its pool already, and then `terminate` is an InterfaceError.
    """
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def give_up_connecting(failure: BaseException) -> None:
    """Let a connection that was given up while it was opened end in silence: asyncio logs errors that nobody retrieves.

    Relies on: among the locals of the frames that a failure passed are `protocol`, while a protocol that asks for TLS
    is connected, which fails its future `on_data` when the connection ends, and asyncpg's own future, `connected`.
    """
    for frame, _ in walk_tb(failure.__traceback__):
        names = frame.f_locals
        for answer in (names.get("connected"), getattr(names.get("protocol"), "on_data", None)):
            if isinstance(answer, asyncio.Future):
                answer.cancel()


def is_lost(connection: Any) -> bool:
    """Return whether a connection has ended.

    Relies on: `is_closed` is true as soon as the protocol has noticed; a proxy that was detached raises InterfaceError.
    """
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


def pipelines(connection: Any) -> bool:
    """Return whether the server has a limit to how long it waits for the rest of a pipeline, with locks held."""
    return bool(connection.get_server_version() >= (17,))


async def fetch_pipelined(connection: Any, statement: str, each: Iterable[Sequence[Any]]) -> list[asyncpg.Record]:
    """Run a statement for each of several argument lists, in one implicit transaction; return the rows of all.

    The next lists are taken and encoded while the server works. PostgreSQL 16 has no `transaction_timeout`: there each
    statement is sent when the one before it is done.

    Relies on: `fetchmany` sends Bind and Execute for every list and Sync once. While the socket is full it neither
    passes a cancellation on nor notices that the connection is lost; so this waits beside it, and cancels it when a
    termination listener is called, which happens for a loss and for `abort` alike.

    Raises:
        asyncpg.ConnectionDoesNotExistError: the connection was lost.
    """
    if not pipelines(connection):
        return [row for arguments in each for row in await connection.fetch(statement, *arguments)]
    raw = physical(connection)
    running = asyncio.ensure_future(connection.fetchmany(statement, each))

    def cancel(_: Any) -> None:
        running.cancel()

    def finish(_: Any) -> None:
        raw.remove_termination_listener(cancel)
        if not running.cancelled():
            running.exception()  # retrieved: a cancelled caller does not ask for it

    raw.add_termination_listener(cancel)
    running.add_done_callback(finish)
    try:
        rows: list[asyncpg.Record] = await asyncio.shield(running)
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if caller and not caller.cancelling():
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost") from None
        raise
    return rows


async def use_codec(
    connection: Any, name: str, schema: str, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> None:
    """Let a connection pass values of a type in binary.

    Relies on: the codec also converts the elements of the type's arrays, where `encode` may be given bytes; a list
    would be taken for one more dimension of the array.
    """
    await connection.set_type_codec(name, schema=schema, encoder=encode, decoder=decode, format="binary")


def beneath(error: Any) -> BaseException:
    """Return the driver's error beneath one of SQLAlchemy's, or that error if there is none.

    Relies on: the dialect's `orig` is an error of its own, raised from the driver's.
    """
    found: BaseException = getattr(error.orig, "__cause__", None) or error
    return found
