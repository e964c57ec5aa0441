"""The runtime directory, which holds the sockets: a home may have any path, but a socket's path must be short.

It is private (mode 0700, owned by this user, checked without following links) and has the same name at every start of a
home, so that addresses stay valid across restarts. In it: `control.sock` of the supervisor, and `s/` of the servers.
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
"""The longest socket path, in bytes, that every system accepts (macOS 103, Linux 107)."""
_LONGEST_SUFFIX = len(f"/{_PREFIX}{'0' * 16}-{'0' * 8}/s/.s.PGSQL.5432")
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


class RuntimeDirectory:
    """A runtime directory that this process holds until it ends."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock
        self.control = os.path.join(path, "control.sock")
        self.servers = os.path.join(path, "s")

    @classmethod
    def make(cls, roots: Sequence[str], home_id: list[int], identity: Identity) -> RuntimeDirectory:
        """Create the runtime directory of a home in the first suitable of `roots`; `UnsafePath` if none is."""
        name = _PREFIX + hashlib.sha256(repr((os.geteuid(), home_id)).encode()).hexdigest()[:16]
        reasons = []
        for root in roots:
            if len(os.fsencode(root)) + _LONGEST_SUFFIX > _LONGEST or not _PLAIN.fullmatch(root):
                reasons.append(f"{root}: too long or with special characters")
            elif not files.is_trustworthy(root):
                reasons.append(f"{root}: other users could replace what is created there")
            elif not identity.can_enter(root):
                reasons.append(f"{root}: the servers cannot enter it")
            else:
                # The second name is used if another user has taken the first.
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
        """Recreate `s/`, without the sockets of dead servers, accessible to servers of this identity alone."""
        files.remove_tree(self.servers)
        os.mkdir(self.servers, 0o700)
        if not identity.owns_files_of_caller:
            os.chown(self.servers, identity.uid, identity.gid)
            os.chown(self.path, -1, identity.gid)
            os.chmod(self.path, 0o710)

    def remove(self) -> None:
        """Remove the directory; its lock lasts until the process ends."""
        files.remove_tree(self.path)
