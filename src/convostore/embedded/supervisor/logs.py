"""Log files of bounded size that keep their last lines in memory."""

from __future__ import annotations

import collections
import os
import time

LIMIT = 4 << 20
"""Bytes after which a log is rotated to `<name>.1`."""

TAIL_LINES = 15


class BoundedLog:
    """A log of at most twice `LIMIT` bytes on disk, whose last lines are kept for error messages."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._partial = b""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  open as long as the supervisor runs

    def write(self, data: bytes) -> None:
        """Append output of a server. A full disk loses log lines; it does not block the server on its pipe."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-4096:]
        self._tail.extend(line.decode("utf-8", "replace")[:500] for line in lines if line.strip())
        try:
            if self._file.tell() + len(data) > LIMIT:
                self._file.close()
                os.replace(self.path, self.path + ".1")
                self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            self._file.write(data)
        except (OSError, ValueError):
            pass

    def note(self, text: str) -> None:
        """Append a line of the supervisor, with the time in UTC."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.write(f"{moment} UTC supervisor[{os.getpid()}]: {text}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file; later writes reach only the tail."""
        self._file.close()

    def forget(self) -> None:
        """Clear the tail, so that the next error quotes only later output."""
        self._tail.clear()
        self._partial = b""

    def tail(self) -> str:
        """Return the last lines, indented."""
        partial = self._partial.decode("utf-8", "replace").strip()
        lines = [*self._tail, partial] if partial else list(self._tail)
        return "\n".join(f"    {line}" for line in lines) or "    (no output)"
