"""The home: the directory that holds the data, who owns it now, and where its supervisor listens.

supervisor.lock   held (flock) by the one supervisor; never removed, so that it always means the same thing
supervisor.json   where that supervisor listens
postgres/ valkey/ the data, each mode 0700
log/              what the servers and the supervisor said
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
    """An existing home directory. It stays open, so that its inode number cannot be given to another directory."""

    def __init__(self, path: str, *, ephemeral: bool, directory: int) -> None:
        self.path = path
        self.ephemeral = ephemeral
        self._directory = directory
        self._lock: int | None = None
        found = os.fstat(self._directory)
        self.id = [found.st_dev, found.st_ino]
        if found.st_uid != os.geteuid():
            raise files.UnsafePath(
                f"the home {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()} who opens it; "
                "use a directory of your own, for example one below it"
            )
        if found.st_mode & stat.S_IWOTH:
            raise files.UnsafePath(f"everybody can write to the home {path}; use a directory of your own below it")

    @classmethod
    def open(cls, path: str) -> Home:
        """The home at `path`, made (and its parents) if it is not there. Modes of what exists are not changed."""
        umask = os.umask(0o022)  # new parents are ordinary directories; only the home is private
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        finally:
            os.umask(umask)
        return cls(path, ephemeral=False, directory=os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    @classmethod
    def make_ephemeral(cls, roots: Sequence[str], identity: Identity) -> Home:
        """A new private home in the first of `roots` that will do; removes those that dead supervisors left there."""
        for root in roots:
            if files.is_trustworthy(root) and identity.can_enter(root):
                files.remove_abandoned(root, EPHEMERAL_PREFIX)
                path = os.path.join(root, EPHEMERAL_PREFIX + os.urandom(6).hex())
                return cls(path, ephemeral=True, directory=files.own_directory(path))
        raise files.UnsafePath(f"no directory for an ephemeral home: the servers cannot enter {', '.join(roots)}")

    def try_own(self) -> bool:
        """Become the one owner; `False` while another supervisor is."""
        self._lock = files.try_lock(self.join(LOCK_NAME))
        return self._lock is not None

    def publish(self, token: str, control: str) -> None:
        """Tell clients where to find this supervisor."""
        record = {"token": token, "control": control, "home_id": self.id, "pid": os.getpid()}
        files.write_whole(self.join(RECORD_NAME), json.dumps(record).encode("ascii"))

    def withdraw(self) -> None:
        """Remove what `publish` wrote."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.join(RECORD_NAME))

    def join(self, *names: str) -> str:
        """A path inside the home."""
        return os.path.join(self.path, *names)

    def let_pass(self, identity: Identity) -> None:
        """Let servers that are not of our uid enter the home, and nobody else."""
        if identity.owns_files_of_caller or identity.blocked_at([self.path]) != self.path:
            return
        os.fchown(self._directory, -1, identity.gid)
        os.fchmod(self._directory, 0o710)

    def make_staging(self, name: str, identity: Identity) -> str:
        """An empty directory of the servers in which to prepare `name`; what a crash left of earlier ones goes."""
        for entry in os.listdir(self.path):
            if entry.startswith(name + _STAGING_SUFFIX):
                files.remove_tree(self.join(entry))
        path = self.join(name + _STAGING_SUFFIX + os.urandom(4).hex())
        os.mkdir(path, 0o700)
        files.give(path, identity.uid, identity.gid)
        return path

    def adopt(self, staging: str, name: str) -> None:
        """Make the prepared directory the one called `name`, durably and in one step."""
        os.rename(staging, self.join(name))
        os.fsync(self._directory)

    def remove(self) -> None:
        """Remove an ephemeral home with everything in it."""
        files.remove_tree(self.path)
