"""Connects a client to the supervisor of a home, and starts one if none runs."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from convostore.embedded.errors import EmbeddedError
from convostore.embedded.supervisor.protocol import (
    LINE_LIMIT,
    RECORD_NAME,
    Message,
    Request,
    from_text,
    receive,
    send,
)

_POLL_INTERVAL = 0.05
_ATTEMPTS = 3
_BOOTSTRAP = "import sys; sys.path.insert(0, sys.argv[1]); from supervisor.main import main; main(int(sys.argv[2]))"


class Connection:
    """A lease that a supervisor has accepted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, welcome: Message) -> None:
        self.reader = reader
        self.writer = writer
        self.supervisor_pid = int(welcome["pid"])
        self.home = Path(from_text(welcome["home"]))


async def connect(request: Request) -> Connection:
    """Return a lease on the home of a request.

    A supervisor is started unless one answers. It waits for the home's lock while this client polls the record in the
    home, so that of several concurrent starts exactly one wins and every client joins it.
    """
    for _ in range(_ATTEMPTS):
        joined = await _join(request)
        if joined is not None:
            return joined
        reader, writer = await _start(request)
        first = asyncio.create_task(receive(reader))
        started = None
        try:
            while not first.done():
                await asyncio.wait({first}, timeout=_POLL_INTERVAL)
                if not first.done() and (joined := await _join(request)) is not None:
                    return joined
            message = first.result()
            if message is not None and message["event"] == "welcome":
                started = Connection(reader, writer, message)
                return started
            if message is not None:
                raise EmbeddedError(message["message"])
        finally:
            first.cancel()
            if started is None:
                writer.close()
    raise EmbeddedError(f"the supervisor exited {_ATTEMPTS} times before it answered{_where_to_look(request)}")


async def _join(request: Request) -> Connection | None:
    """Return a lease from the supervisor that owns the home, or None if none answers."""
    if request.home is None:
        return None
    try:
        control, proof = await asyncio.to_thread(_read_record, request, from_text(request.home))
        reader, writer = await asyncio.open_unix_connection(control, limit=LINE_LIMIT)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    welcome = None
    try:
        send(writer, proof.message())
        welcome = await receive(reader)
    finally:
        if welcome is None:
            writer.close()
    return None if welcome is None else Connection(reader, writer, welcome)


def _read_record(request: Request, home: str) -> tuple[str, Request]:
    """Return where the home's supervisor listens, and the request with the home's token and identity."""
    record = json.loads(Path(home, RECORD_NAME).read_bytes())
    found = os.stat(home)
    control = from_text(str(record["control"]))
    directory = os.lstat(os.path.dirname(control))
    # After a crash another user may have taken the directory's name. A new supervisor then chooses another one.
    ours = {found.st_uid, directory.st_uid} == {os.geteuid()}
    if not ours or not stat.S_ISDIR(directory.st_mode) or directory.st_mode & stat.S_IRWXO:
        raise ValueError("not private to this user")
    return control, replace(request, token=record["token"], home_id=[found.st_dev, found.st_ino])


async def _start(request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Start a supervisor whose first lease is the returned connection, so that it never runs without a lease."""
    ours, theirs = socket.socketpair()
    try:
        await asyncio.to_thread(_spawn, theirs, request.home or "ephemeral")
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)
    except BaseException:
        ours.close()
        raise
    send(writer, request.message())
    return reader, writer


def _spawn(theirs: socket.socket, label: str) -> None:
    # Closed here, not by the caller, which may be cancelled while this thread runs.
    with theirs:
        folder = os.path.dirname(os.path.abspath(__file__))
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOTSTRAP, folder, str(theirs.fileno())]
        try:
            result = subprocess.run(
                [*command, f"convostore supervisor of {label}".encode("utf-8", "surrogateescape")],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
        except OSError as error:
            raise EmbeddedError(f"the supervisor cannot be started with {sys.executable!r}: {error}") from error
    if result.returncode != 0:
        said = result.stderr.decode("utf-8", "replace").strip()
        raise EmbeddedError(f"the supervisor did not start (exit code {result.returncode}): {said or 'no output'}")


def temporary_roots() -> list[str]:
    """Return candidates for the parent of an ephemeral home; the supervisor takes the first its servers can enter."""
    short = ("/tmp", "/var/tmp")  # noqa: S108  what is created there is checked to be private to this user
    return list(dict.fromkeys((os.path.abspath(tempfile.gettempdir()), *short)))


def runtime_roots() -> list[str]:
    """Return candidates for the parent of the socket directory; the supervisor takes the first that is short enough."""
    return list(dict.fromkeys(filter(None, (os.environ.get("XDG_RUNTIME_DIR"), *temporary_roots()))))


def _where_to_look(request: Request) -> str:
    return f"; see {from_text(request.home)}/log/supervisor.log" if request.home else ""
