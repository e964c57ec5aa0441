"""Listens to a server by MONITOR as long as it is used, and notes what nobody may tell it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from redis.crc import key_slot

from tests.redis.administration import MARK
from tests.redis.monitoring import Command, parsed

UNBOUNDED = {"SCAN", "KEYS", "RANDOMKEY", "DBSIZE", "FLUSHDB", "FLUSHALL", "SORT", "SORT_RO", "SAVE", "SWAPDB"}
"""Commands that concern a whole database, so that they cost more with every tenant."""

TRANSACTIONS = {"MULTI", "EXEC", "WATCH"}
"""Commands that tie a connection to one node of a cluster."""

_KEY = re.compile(r"convostore:\{[^{}|]+\}:[^{}|]*")
_LAST = "nothing is said after this"


class Recorder(Thread):
    """Reads what a server is told, until it is told that nothing follows.

    Attributes:
        seen: how many commands there were, those of scripts included.
        faults: the commands that should not have been sent, without their arguments but the keys.
    """

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self.faults: list[str] = []
        self._path = path
        self._monitor = _connected(path)
        self._monitor.sendall(b"MONITOR\r\n")
        self._lines = self._monitor.makefile("rb")
        assert self._lines.readline() == b"+OK\r\n"

    def run(self) -> None:
        caller: Command | None = None
        slots: set[int] = set()
        for line in self._lines:
            _, command = parsed(line)
            if command == Command("ECHO", (_LAST,), by_script=False):
                return
            self.seen += 1
            if not command.by_script:
                caller, slots = command, set()
            if caller is not None and _is_a_tests_own(caller):
                continue
            keys = [argument for argument in command.arguments if _KEY.fullmatch(argument)]
            slots |= {key_slot(key.encode()) for key in keys}
            if command.name in UNBOUNDED | TRANSACTIONS or len(slots) > 1:
                self.faults.append(" ".join((command.name, *keys)))

    def finish(self) -> None:
        """Wait until everything was read that the server was told."""
        with _connected(self._path) as connection:
            connection.sendall(f'ECHO "{_LAST}"\r\n'.encode())
            assert connection.recv(100)
        self.join(60)
        assert not self.is_alive()
        self._lines.close()
        self._monitor.close()


@contextmanager
def recording(path: str) -> Iterator[Recorder]:
    """Record what the server at a Unix socket is told during a block, and fail at its end if there were faults."""
    recorder = Recorder(path)
    recorder.start()
    yield recorder
    recorder.finish()
    assert recorder.faults == [], (
        "A server was told what concerns a whole database, or several slots of a cluster, at once. If it was a test "
        "that did so, let it use tests/redis/administration.py."
    )


def _is_a_tests_own(command: Command) -> bool:
    return command.name == "EVAL" and command.arguments[0].startswith(MARK)


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection
