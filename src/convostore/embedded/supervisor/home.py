"""The home: the directory of the data, its lock, and the record of where its supervisor listens.

supervisor.lock   flock of the one supervisor; never removed, so that all processes lock the same inode
supervisor.json   where that supervisor listens
postgres/ valkey/ the data directories, mode 0700
log/              the logs of the servers and of the supervisor
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Sequence

from . import files
from .identity import Identity
from .protocol import RECORD_NAME

LOCK_NAME = "supervisor.lock"
EPHEMERAL_PREFIX = "convostore-ephemeral-"
_STAGING_SUFFIX = ".new-"


class Home:
    """An existing home directory. Its descriptor stays open, so that its inode number is not reused."""

    def __init__(self, path: str, *, ephemeral: bool, directory: int) -> None:
        self.path = path
        self.ephemeral = ephemeral
        self._directory = directory
        self._lock: int | None = None
        found = os.fstat(self._directory)
        self.id = [found.st_dev, found.st_ino]
        if found.st_uid != os.geteuid():
            raise files.UnsafePath(
                f"the home {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}, which opens it; "
                "use a directory of your own, for example one below it"
            )
        if found.st_mode & stat.S_IWOTH:
            raise files.UnsafePath(f"everybody can write to the home {path}; use a directory of your own below it")

    @classmethod
    def open(cls, path: str) -> Home:
        """Open the home at `path`; create it and its parents if missing. Existing directories keep their modes."""
        umask = os.umask(0o022)  # new parents get ordinary modes; only the home is private
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        finally:
            os.umask(umask)
        return cls(path, ephemeral=False, directory=os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def make_ephemeral(cls, roots: Sequence[str], identity: Identity) -> Home:
        """Create a private home in the first suitable of `roots`; remove those of dead supervisors there."""
        for root in roots:
            if files.is_trustworthy(root) and identity.can_enter(root):
                files.remove_abandoned(root, EPHEMERAL_PREFIX)
                path = os.path.join(root, EPHEMERAL_PREFIX + os.urandom(6).hex())
                return cls(path, ephemeral=True, directory=files.own_directory(path))
        raise files.UnsafePath(f"no directory for an ephemeral home: the servers cannot enter {', '.join(roots)}")

    def try_own(self) -> bool:
        """Take the home's lock; return False while another supervisor holds it."""
        self._lock = files.try_lock(self.join(LOCK_NAME))
        return self._lock is not None

    def publish(self, token: str, control: str) -> None:
        """Write the record that leads clients to this supervisor."""
        record = {"token": token, "control": control, "home_id": self.id, "pid": os.getpid()}
        files.write_whole(self.join(RECORD_NAME), json.dumps(record).encode("ascii"))

    def withdraw(self) -> None:
        """Remove the record."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.join(RECORD_NAME))

    def join(self, *names: str) -> str:
        """Return a path inside the home."""
        return os.path.join(self.path, *names)

    def let_pass(self, identity: Identity) -> None:
        """Grant servers of another uid, and no one else, access to the home."""
        if identity.owns_files_of_caller or identity.blocked_at([self.path]) != self.path:
            return
        os.fchown(self._directory, -1, identity.gid)
        os.fchmod(self._directory, 0o710)

    def make_staging(self, name: str, identity: Identity) -> str:
        """Create an empty directory of the servers in which to prepare `name`; remove those that crashes left."""
        for entry in os.listdir(self.path):
            if entry.startswith(name + _STAGING_SUFFIX):
                files.remove_tree(self.join(entry))
        path = self.join(name + _STAGING_SUFFIX + os.urandom(4).hex())
        os.mkdir(path, 0o700)
        files.give(path, identity.uid, identity.gid)
        return path

    def adopt(self, staging: str, name: str) -> None:
        """Rename the prepared directory to `name`, atomically and durably."""
        os.rename(staging, self.join(name))
        os.fsync(self._directory)

    def remove(self) -> None:
        """Remove an ephemeral home."""
        files.remove_tree(self.path)
