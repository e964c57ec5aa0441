"""The supervisor's main loop: own a home, serve leases, stop the servers when the last lease ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from . import files
from .engine import Engine, EngineError, Place
from .home import Home
from .identity import IdentityError, adopt_orphans, choose
from .logs import BoundedLog
from .postgres import Postgres
from .processes import Processes
from .protocol import Message, Request, from_text, receive, send, to_text
from .runtime import RuntimeDirectory
from .valkey import Valkey

_LOCK_POLL_INTERVAL = 0.02
_HELLO_TIMEOUT = 10.0


class Lease:
    """A client's claim on the servers, as long as its connection is open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        self.request = request
        self.writer = writer
        # A client sends nothing after its request: whatever ends this read ends the lease.
        self.ended = asyncio.create_task(reader.read(1))


class Service:
    """The supervisor of one home."""

    def __init__(self, place: Place, token: str) -> None:
        self.place = place
        self.token = token
        self.engines: dict[str, Engine] = {}
        self.leases: set[Lease] = set()
        self.stopping = False
        self._lease_ended = asyncio.Event()
        self._terminated = asyncio.Event()

    async def run(self, first: Lease) -> None:
        """Serve until the last lease ends, then stop the servers."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        listener = await asyncio.start_unix_server(self._accept, path=self.place.runtime.control)
        serving = asyncio.create_task(self._serve(first))
        self.leases.add(first)
        self.place.home.publish(self.token, to_text(self.place.runtime.control))
        try:
            while self.leases and not self._terminated.is_set():
                self._lease_ended.clear()
                await self._lease_ended.wait()
        finally:
            self.stopping = True
            self.place.home.withdraw()
            listener.close()
            serving.cancel()
            await asyncio.gather(*(engine.stop() for engine in self.engines.values()))
            self.place.runtime.remove()
            if self.place.home.ephemeral:
                self.place.home.remove()

    def tell_pids(self) -> None:
        """Send the pids of the servers to every client."""
        for lease in self.leases:
            send(lease.writer, self._state())

    def _state(self) -> Message:
        return {"event": "state", "pids": {name: engine.pid for name, engine in self.engines.items()}}

    def _terminate(self) -> None:
        self._terminated.set()
        self._lease_ended.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = None
        with contextlib.suppress(TimeoutError, TypeError):
            async with asyncio.timeout(_HELLO_TIMEOUT):
                message = await receive(reader)
            request = Request.parse(message) if message else None
        # A client of another home, or of an earlier supervisor of this one, must not get these servers.
        expected = (self.token, self.place.home.id)
        if self.stopping or request is None or (request.token, request.home_id) != expected:
            writer.close()
            return
        lease = Lease(reader, writer, request)
        self.leases.add(lease)
        await self._serve(lease)

    async def _serve(self, lease: Lease) -> None:
        send(lease.writer, {"event": "welcome", "pid": os.getpid(), "home": to_text(self.place.home.path)})
        starting = asyncio.create_task(self._start_wanted(lease.request))
        try:
            await asyncio.wait({starting, lease.ended}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                send(lease.writer, self._state())
                send(lease.writer, starting.result())
                await asyncio.wait({lease.ended})
        finally:
            starting.cancel()
            self.leases.discard(lease)
            self._lease_ended.set()
            if self.leases:
                lease.writer.close()  # the last client waits for the exit instead

    async def _start_wanted(self, request: Request) -> Message:
        try:
            wanted = [self._engine(name, request) for name in ("postgres", "valkey") if _wants(name, request)]
            await asyncio.gather(*(engine.ready(request.timeout) for engine in wanted))
        except (EngineError, OSError) as error:
            return {"event": "failed", "message": str(error)}
        return {"event": "ready", "servers": to_text(self.place.runtime.servers)}

    def _engine(self, name: str, request: Request) -> Engine:
        running = self.engines.get(name)
        if running is not None and running.is_active:
            if isinstance(running, Postgres) and running.version != request.postgres_version:
                raise EngineError(
                    f"PostgreSQL {running.version} runs in this home; version {request.postgres_version} was asked for"
                )
            return running
        if name == "postgres" and request.postgres_version is not None:
            programs = from_text(request.postgres_bin or "")
            _check_access(self.place, os.path.join(programs, "postgres"))
            engine: Engine = Postgres(self.place, programs, request.postgres_version)
        else:
            program = from_text(request.valkey_server or "")
            _check_access(self.place, program)
            engine = Valkey(self.place, program)
        self.engines[name] = engine
        return engine


def _wants(name: str, request: Request) -> bool:
    return bool(request.postgres_bin if name == "postgres" else request.valkey_server)


def _check_access(place: Place, program: str) -> None:
    if place.identity.mode == "self":
        return
    blocked = place.identity.blocked_at([program, place.home.path, place.runtime.servers])
    if blocked is not None:
        raise EngineError(
            f"the servers run with the rights of uid {place.identity.uid} and gid {place.identity.gid} "
            f"({place.identity.mode}), which cannot enter {blocked}; let them in, move what lies below to another "
            "place (CONVOSTORE_HOME sets the home), or run as an ordinary user"
        )


async def supervise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve the client at the other end of this connection, and all that join, until the last has left."""
    message = await receive(reader)
    if message is None:
        return
    lease = Lease(reader, writer, Request.parse(message))
    try:
        service = await _found(lease)
    except (files.UnsafePath, IdentityError, OSError) as error:
        send(writer, {"event": "failed", "message": str(error)})
        await writer.drain()
        return
    if service is not None:
        await service.run(lease)


async def _found(lease: Lease) -> Service | None:
    """Return a service that owns the home, or None if the client left before the lock was free."""
    request = lease.request
    adopt_orphans()
    identity = choose(request.identity)
    home = (
        Home.make_ephemeral([from_text(root) for root in request.temporary_roots], identity)
        if request.home is None
        else Home.open(from_text(request.home))
    )
    while not home.try_own():
        await asyncio.wait({lease.ended}, timeout=_LOCK_POLL_INTERVAL)
        if lease.ended.done():
            return None
    os.makedirs(home.join("log"), mode=0o700, exist_ok=True)
    log = BoundedLog(home.join("log", "supervisor.log"))
    runtime = RuntimeDirectory.make([from_text(root) for root in request.runtime_roots], home.id, identity)
    runtime.prepare(identity)
    home.let_pass(identity)
    service: Service | None = None
    place = Place(home, runtime, identity, Processes(), log, lambda: service.tell_pids() if service else None)
    service = Service(place, os.urandom(16).hex())
    log.note(f"owns {home.path}; servers run as {identity.mode}, sockets in {runtime.path}")
    return service
