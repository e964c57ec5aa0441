"""Multiplexing: one connection per node that concurrent calls share, a round trip at a time.

A call that finds the connection idle sends at once. Calls that arrive during a round trip are gathered, and leave
together in the next. A caller that leaves early, cancelled or late, harms no other: its reply is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import InvalidResponse, ReadOnlyError

from convostore.call.call import Call, running
from convostore.redis import driver
from convostore.redis.connection import Command, Connection

_MOST_REQUESTS = 256
"""How many requests a round trip carries at most."""

_MOST_BYTES = 1 << 18
"""How many bytes a round trip sends at most, unless one request alone is longer."""

_PATIENCE = 0.25
"""Seconds after which a round trip holds up no other: later calls use a new connection."""


class Unsent(ConnectionResetError):
    """The connection was closed before the request was sent, which another connection can take."""


@dataclass(eq=False, slots=True)
class _Request:
    """A caller's commands, and what it waits for."""

    packed: bytes
    due: int
    call: Call | None
    answer: asyncio.Future[list[Any]]
    replies: list[Any] = field(default_factory=list)


class SharedConnection(Connection, asyncio.Protocol):
    """A connection that many callers hold at a time, until its socket is closed.

    It is aborted when the last caller on it has left, at the latest deadline of them if none was cancelled.

    Args:
        raw: the driver's connection, connected.

    Attributes:
        ended: done once the socket is closed.
    """

    def __init__(self, raw: driver.RawConnection) -> None:
        super().__init__(raw)
        self._loop = asyncio.get_running_loop()
        self._gathered: deque[_Request] = deque()
        self._in_flight: deque[_Request] = deque()
        self._sent_at = 0.0
        self._flushing = self._retired = False
        self._replies = driver.ReplyReader(raw)
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._transport, self._previous = driver.take_over(raw, self)

    @property
    def is_usable(self) -> bool:
        """Whether a call can be sent soon: the socket is open, and no round trip takes longer than usual."""
        held_up = bool(self._in_flight) and self._loop.time() - self._sent_at > _PATIENCE
        return not (self._retired or held_up)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a reply."""
        return all(each.answer.done() for each in (*self._in_flight, *self._gathered))

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """As `Connection.exchange`, beside other callers.

        Raises:
            Unsent: nothing was sent.
            OSError: the connection was lost.
        """
        if self._retired:
            raise Unsent
        request = _Request(driver.packed(commands), len(commands), running.get(), self._loop.create_future())
        self._gathered.append(request)
        if not self._in_flight and not self._flushing:
            self._flush()
        try:
            return await request.answer
        finally:
            if request.answer.cancelled() and self.is_idle:
                self._close()

    def retire(self) -> None:
        """Take no more calls, and close once the round trip under way is over."""
        self._retired = True
        _fail(self._gathered, Unsent)
        if not self._in_flight:
            self._close()

    def data_received(self, data: bytes) -> None:
        """Give replies to their callers; when all have come, send what was gathered."""
        try:
            for reply in self._replies.read(data):
                self._deliver(reply)
        except (InvalidResponse, IndexError):
            self._close()  # Nobody asked for it: a server says why before it closes.
        if self._in_flight:
            return
        if self._retired:
            self.retire()
        elif not self._flushing:
            # After the callers that have their replies now, whose next calls leave with this round trip.
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _deliver(self, reply: Any) -> None:
        request = self._in_flight[0]
        request.replies.append(reply)
        if isinstance(reply, ReadOnlyError):
            # Another server is the primary now: the next caller connects anew, and finds it.
            self._retired = True
        if len(request.replies) == request.due:
            self._in_flight.popleft()
            if not request.answer.done():
                request.answer.set_result(request.replies)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what was sent, and let what was not be sent elsewhere."""
        self._retired = True
        _fail(self._in_flight, ConnectionResetError, error)
        _fail(self._gathered, Unsent, error)
        self._previous.connection_lost(error)
        if not self.ended.done():
            self.ended.set_result(None)

    def _flush(self) -> None:
        """Send as much of what was gathered as one round trip carries."""
        self._flushing = False
        packed: list[bytes] = []
        size = 0
        while (
            self._gathered
            and len(packed) < _MOST_REQUESTS
            and (not size or size + len(self._gathered[0].packed) <= _MOST_BYTES)
        ):
            request = self._gathered.popleft()
            if request.answer.done():
                continue
            if request.call is not None:
                request.call.sent = True
            packed.append(request.packed)
            size += len(request.packed)
            self._in_flight.append(request)
        if packed:
            self._sent_at = self._loop.time()
            self._transport.write(b"".join(packed))

    def _close(self) -> None:
        self._retired = True
        self._transport.abort()


def _fail(requests: deque[_Request], kind: type[OSError], cause: Exception | None = None) -> None:
    """Fail requests, each with an error of its own: its caller writes into it."""
    while requests:
        answer = requests.popleft().answer
        if not answer.done():
            error = kind("the server closed the connection")
            error.__cause__ = cause
            answer.set_exception(error)


@dataclass(eq=False)
class _Opening:
    """A shared connection that is being opened, and how many callers wait for it."""

    connection: asyncio.Future[SharedConnection]
    task: asyncio.Task[None] = field(init=False)
    waiting: int = 0


Open = Callable[[Any], AbstractAsyncContextManager[Connection]]
"""Opens a connection to a node for the duration of a block."""


class SharedConnections:
    """The shared connections of a client, one per node. They are the pool's, and closed with the client.

    Attributes:
        tasks: each holds a connection.
    """

    def __init__(self) -> None:
        self.open: dict[Any, SharedConnection] = {}
        self._opening: dict[Any, _Opening] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def to(self, node: Any, opened: Open) -> SharedConnection:
        """Return the shared connection to a node; open it if there is none, once for all that wait for it."""
        found = self.open.get(node)
        if found is not None:
            if found.is_usable:
                return found
            found.retire()
        opening = self._opening.get(node)
        if opening is None:
            loop = asyncio.get_running_loop()
            opening = self._opening[node] = _Opening(loop.create_future())
            opening.task = loop.create_task(self._keep(node, opened, opening), context=Context())
            self.tasks.add(opening.task)
            opening.task.add_done_callback(self.tasks.discard)
        opening.waiting += 1
        try:
            return await asyncio.shield(opening.connection)
        finally:
            opening.waiting -= 1
            if not opening.waiting and not opening.connection.done():
                self._opened(node, opening)
                opening.task.cancel()

    async def _keep(self, node: Any, opened: Open, opening: _Opening) -> None:
        """Hold a connection of the pool until its socket is closed."""
        shared = None
        try:
            async with opened(node) as connection:
                self.open[node] = shared = SharedConnection(connection.raw)
                opening.connection.set_result(shared)
                self._opened(node, opening)
                await shared.ended
                # The pool closes a connection whose block fails.
                raise ConnectionResetError
        except Exception as error:  # noqa: BLE001  (its callers raise it)
            if not opening.connection.done():
                opening.connection.set_exception(error)
        finally:
            self._opened(node, opening)
            opening.connection.cancel()
            if self.open.get(node) is shared:
                self.open.pop(node, None)

    def _opened(self, node: Any, opening: _Opening) -> None:
        if self._opening.get(node) is opening:
            del self._opening[node]
