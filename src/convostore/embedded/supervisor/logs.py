"""Log files of bounded size that remember their last lines."""

from __future__ import annotations

import collections
import os
import time

LIMIT = 4 << 20
"""Bytes after which a log becomes `<name>.1`, replacing the one before."""

TAIL_LINES = 15


class BoundedLog:
    """A log of at most twice `LIMIT` bytes on disk, whose last lines are at hand for error messages."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._partial = b""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  lives as long as the supervisor

    def write(self, data: bytes) -> None:
        """Append what a server printed. A full disk costs the log, not the server that waits on the pipe."""
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
        """Append a line of the supervisor's own, with the time in UTC."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.write(f"{stamp} UTC supervisor[{os.getpid()}]: {text}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Let go of the file; what is written afterwards reaches only the tail."""
        self._file.close()

    def forget(self) -> None:
        """Empty the tail, so that the next error quotes only what was printed from now on."""
        self._tail.clear()
        self._partial = b""

    def tail(self) -> str:
        """The last lines, indented."""
        partial = self._partial.decode("utf-8", "replace").strip()
        lines = [*self._tail, partial] if partial else list(self._tail)
        return "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
