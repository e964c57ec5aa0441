"""The runtime directory: where the sockets are, because a home may have any path and a socket's is short and plain.

It is private (0700 and ours, checked without following links) and has the same name at every start of one home, so that
addresses stay valid across a restart. In it: `control.sock` for clients of the supervisor, and `s/` for the servers.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence

from . import files
from .identity import Identity

_PREFIX = "convostore-run-"
_LONGEST = 103
"""Bytes of a socket path that every system takes (macOS 103, Linux 107)."""
_LONGEST_SUFFIX = len(f"/{_PREFIX}{'0' * 16}-{'0' * 8}/s/.s.PGSQL.5432")
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


class RuntimeDirectory:
    """A runtime directory held by this process until it ends."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock
        self.control = os.path.join(path, "control.sock")
        self.servers = os.path.join(path, "s")

    @classmethod
    def make(cls, roots: Sequence[str], home_id: list[int], identity: Identity) -> RuntimeDirectory:
        """The runtime directory of a home, in the first of `roots` that will do; `UnsafePath` if none does."""
        name = _PREFIX + hashlib.sha256(repr((os.geteuid(), home_id)).encode()).hexdigest()[:16]
        reasons = []
        for root in roots:
            if len(os.fsencode(root)) + _LONGEST_SUFFIX > _LONGEST or not _PLAIN.fullmatch(root):
                reasons.append(f"{root}: too long or with special characters")
            elif not files.is_trustworthy(root):
                reasons.append(f"{root}: others could replace what we make there")
            elif not identity.can_enter(root):
                reasons.append(f"{root}: the servers cannot enter it")
            else:
                # The second name is for when somebody else took the first one.
                for candidate in (name, f"{name}-{os.urandom(4).hex()}"):
                    path = os.path.join(root, candidate)
                    try:
                        lock = files.own_directory(path)
                    except (OSError, files.UnsafePath) as error:
                        reasons.append(str(error))
                    else:
                        files.remove_abandoned(root, _PREFIX)
                        return cls(path, lock)
        raise files.UnsafePath("no directory for sockets: " + "; ".join(reasons))

    def prepare(self, identity: Identity) -> None:
        """Make `s/` for servers of this identity and let them enter, nobody else. Sockets of dead servers go."""
        files.remove_tree(self.servers)
        os.mkdir(self.servers, 0o700)
        if not identity.owns_files_of_caller:
            os.chown(self.servers, identity.uid, identity.gid)
            os.chown(self.path, -1, identity.gid)
            os.chmod(self.path, 0o710)

    def remove(self) -> None:
        """Remove the directory; the lock lasts until the process ends."""
        files.remove_tree(self.path)
