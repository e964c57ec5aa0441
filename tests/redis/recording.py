"""Records the commands that a server receives, by MONITOR, and fails if there is one that the library must not send."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Thread

from redis.crc import key_slot

from tests.redis.administration import MARK

UNBOUNDED = {"SCAN", "KEYS", "RANDOMKEY", "DBSIZE", "FLUSHDB", "FLUSHALL", "SORT", "SORT_RO", "SAVE", "SWAPDB"}
"""Commands on a whole database, whose cost grows with the number of tenants."""

TRANSACTIONS = {"MULTI", "EXEC", "WATCH"}
"""Commands that tie a connection to one node of a cluster."""

_COMMAND = re.compile(rb'\+\d+\.\d+ \[\d+ ([^\]]*)\] "([^"]*)"')
_KEY = re.compile(rb' "(convostore:\{[^{}|"]+\}:)[^{}|"]*"')
_TESTS_OWN = f'"EVAL" "{MARK}'.encode()
_LAST = b'"ECHO" "nothing is said after this"'


class Recorder(Thread):
    """Reads the commands that a server receives, up to a marker.

    Attributes:
        seen: how many commands there were, including those that scripts ran.
        faults: the beginnings of forbidden commands.
    """

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self.faults: list[str] = []
        self._heard_all = False
        self._path = path
        self._monitor = _connected(path)
        self._monitor.sendall(b"MONITOR\r\n")
        self._lines = self._monitor.makefile("rb")
        assert self._lines.readline() == b"+OK\r\n"

    def run(self) -> None:
        # This thread shares a processor with the tests, so it parses no more than it checks.
        tests_own, slots = False, set[int]()
        for line in self._lines:
            if _LAST in line:
                self._heard_all = True
                return
            self.seen += 1
            origin, name = _command(line)
            if origin != b"lua":
                tests_own, slots = _TESTS_OWN in line, set()
            if tests_own:
                continue
            slots.update(map(_slot, _KEY.findall(line)))
            if name in UNBOUNDED | TRANSACTIONS or len(slots) > 1:
                self.faults.append(line.decode(errors="replace")[:200])

    def finish(self) -> None:
        """Wait until every command that the server received was read."""
        with _connected(self._path) as connection:
            connection.sendall(_LAST + b"\r\n")
            assert connection.recv(100)
        self.join(60)
        assert self._heard_all, "the connection was cut, or the server is too far ahead"
        self._lines.close()
        self._monitor.close()


@contextmanager
def recording(path: str) -> Iterator[Recorder]:
    """Record the commands to the server at a Unix socket during a block; fail at its end if one was forbidden."""
    recorder = Recorder(path)
    recorder.start()
    yield recorder
    recorder.finish()
    assert recorder.faults == [], (
        "A command on a whole database, or on several slots of a cluster, was sent. If a test sent it, let it use "
        "tests/redis/administration.py."
    )


def _command(line: bytes) -> tuple[bytes, str]:
    found = _COMMAND.match(line)
    assert found is not None, line
    return found[1], found[2].decode().upper()


@cache
def _slot(prefix: bytes) -> int:
    return int(key_slot(prefix))


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection
