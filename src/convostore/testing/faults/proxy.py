"""A proxy in front of a real server, on TCP or a Unix socket, that disturbs what passes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

_READ = 65_536
_CLOSING_TIMEOUT = 20.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 seconds: closing discards what is unsent and sends RST."""

Streams: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
Observer: TypeAlias = "Callable[[int, Literal['to_server', 'to_client'], bytes], None]"
"""Is told of everything that arrives at the proxy: the number of the connection, the direction, the bytes."""


@dataclass
class Flow:
    """What happens to the bytes of one direction. A new flow begins to count when it is set.

    `cut_after` resets a connection before delivery (0 bytes to the server), in the middle of it (some), or after it
    (0 bytes to the client: the server has done what it was asked for, and nobody hears of it).

    Attributes:
        silent: whether bytes are read and dropped, while the connection stays open.
        cut_after: how many bytes pass before the next one resets its connection; None cuts nothing.
        times: how many connections are cut; None cuts every one.
        piece: how many bytes are passed on at a time; None passes on what arrives.
        latency: how long bytes are held back, in seconds.
        passed: how many bytes have passed.
        cuts: how many connections were cut.
    """

    silent: bool = False
    cut_after: int | None = None
    times: int | None = None
    piece: int | None = None
    latency: float = 0.0
    passed: int = field(default=0, init=False)
    cuts: int = field(default=0, init=False)

    async def forward(self, data: bytes, writer: asyncio.StreamWriter) -> bool:
        """Pass bytes on to a writer; return False if the connection is to be reset."""
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.silent:
            return True
        cut = self._cuts(len(data))
        passing = data[: max(0, (self.cut_after or 0) - self.passed)] if cut else data
        self.passed += len(passing)
        step = self.piece or len(passing) or 1
        for start in range(0, len(passing), step):
            writer.write(passing[start : start + step])
            await writer.drain()
            if self.piece:
                await asyncio.sleep(0)  # Lets the other side read what it has.
        self.cuts += cut
        return not cut

    def _cuts(self, size: int) -> bool:
        return (
            self.cut_after is not None
            and self.passed + size > self.cut_after
            and (self.times is None or self.cuts < self.times)
        )


class Proxy:
    """Forwards connections to a server of this machine, and disturbs them as it is told, at any time.

    Attributes:
        address: where it listens: a port of 127.0.0.1, or the path of a socket.
        target: where it forwards to; None resets every connection at once.
        to_server: what happens to requests; assign another `Flow`.
        to_client: what happens to replies.
        connections: how many connections were made to it.
    """

    def __init__(self, target: int | Path, at: int | Path, observe: Observer | None) -> None:
        self.address = at
        self.target: int | Path | None = target
        self.to_server = Flow()
        self.to_client = Flow()
        self.connections = 0
        self._observe = observe
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        assert isinstance(self.address, int), "the proxy listens on a Unix socket"
        return self.address

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks that serve connections: a test that looks for tasks left behind leaves these out."""
        return set(self._tasks)

    def lead_to(self, target: int | Path | None) -> None:
        """Reset all connections; forward new ones to another address, or reset them as well."""
        self.target = target
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        for writer in self._open:
            _reset(writer)

    def silence(self) -> None:
        """Drop what arrives from either side, while connections stay open."""
        self.to_server = self.to_client = Flow(silent=True)

    def heal(self) -> None:
        """Pass everything on from now on. What was dropped stays lost: connections that were silent are reset."""
        if self.to_server.silent or self.to_client.silent:
            self.reset()
        self.to_server, self.to_client = Flow(), Flow()

    async def listen(self) -> None:
        """Accept connections, again after `refuse` at the same address."""
        if isinstance(self.address, Path):
            self._server = await asyncio.start_unix_server(self._accept, self.address)
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.address)
            self.address = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Reset all connections and refuse new ones, as if no server ran."""
        if self._server is not None:
            self._server.close()
            await self._ended()
            await self._server.wait_closed()
            if isinstance(self.address, Path):
                self.address.unlink(missing_ok=True)
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        _ = self._start(self._serve((reader, writer), self.connections))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _ended(self) -> None:
        """Reset all connections and wait for the end of their tasks."""
        async with asyncio.timeout(_CLOSING_TIMEOUT):
            while self._tasks:
                self.reset()
                await asyncio.wait(self._tasks, timeout=0.05)

    async def _serve(self, client: Streams, number: int) -> None:
        both = [client[1]]
        self._open.add(client[1])
        try:
            with suppress(OSError):
                if (server := await self._connected()) is None:
                    _reset(client[1])
                    return
                both.append(server[1])
                self._open.add(server[1])
                await asyncio.gather(
                    self._start(self._copy(client[0], server[1], both, number, "to_server")),
                    self._start(self._copy(server[0], client[1], both, number, "to_client")),
                )
        finally:
            self._open.difference_update(both)
            for each in both:
                each.transport.abort()
            await asyncio.gather(*(each.wait_closed() for each in both), return_exceptions=True)

    async def _connected(self) -> Streams | None:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return None if self.target is None else await asyncio.open_connection("127.0.0.1", self.target)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: list[asyncio.StreamWriter],
        number: int,
        direction: Literal["to_server", "to_client"],
    ) -> None:
        try:
            while data := await reader.read(_READ):
                if self._observe is not None:
                    self._observe(number, direction, data)
                flow = self.to_server if direction == "to_server" else self.to_client
                if not await flow.forward(data, writer):
                    break
            else:
                # One side has finished; the other may still have something to say.
                writer.write_eof()
                return
        except OSError:
            pass
        for each in both:
            _reset(each)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@asynccontextmanager
async def proxy_to(
    target: int | Path, *, at: Path | None = None, observe: Observer | None = None
) -> AsyncIterator[Proxy]:
    """A proxy for the duration of a block.

    Args:
        target: a port of 127.0.0.1, or the path of a Unix socket.
        at: the path of the socket on which it listens; a free port of 127.0.0.1 if None.
        observe: is told of what arrives.
    """
    proxy = Proxy(target, at or 0, observe)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.refuse()
        await proxy._ended()
