"""File system operations: locks, private directories, atomic writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator

_ATTEMPTS = 100
_PAUSE = 0.01


class UnsafePath(Exception):
    """A path that is not private to this user; the message says which and why."""


def try_lock(path: str) -> int | None:
    """Return a descriptor that holds the exclusive flock on a file, or None if another process holds it.

    The lock lasts until the descriptor is closed or the process ends, even by SIGKILL.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if _hold(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def own_directory(path: str) -> int:
    """Create a private directory, or take over one whose owner has died; return a descriptor that holds its flock.

    systemd-tmpfiles respects a lock on the directory itself and cleans nothing in it, whatever its age. `UnsafePath` if
    the path is no directory of this user or is locked.

    A directory that is new and not locked yet looks abandoned: `remove_abandoned` of another process may hold it for a
    moment, and then removes it. It is created again.
    """
    created = False
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            created = True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnsafePath(f"{path} is not a directory of this user: {error.strerror}") from None
        try:
            owner = os.fstat(descriptor).st_uid
            if owner != os.geteuid():
                raise UnsafePath(f"{path} belongs to uid {owner}, not to uid {os.geteuid()}")
            if _hold(descriptor, path):
                os.fchmod(descriptor, 0o700)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not created:
            break
        time.sleep(_PAUSE)
    raise UnsafePath(f"{path} is in use")


def remove_abandoned(root: str, prefix: str) -> None:
    """Remove this user's directories in `root` that `own_directory` created and no process holds."""
    for entry in _entries(root, prefix):
        try:
            held = own_directory(entry)
        except (OSError, UnsafePath):
            continue
        # Renamed first, so that no process takes over a directory that is being removed.
        gone = f"{os.path.join(root, prefix)}gone-{os.urandom(8).hex()}"
        with contextlib.suppress(OSError):
            os.rename(entry, gone)
            remove_tree(gone)
        os.close(held)


def _entries(root: str, prefix: str) -> Iterator[str]:
    try:
        names = os.listdir(root)
    except OSError:
        return
    yield from (os.path.join(root, name) for name in names if name.startswith(prefix))


def _hold(descriptor: int, path: str) -> bool:
    """Lock an open file, provided that `path` still names it: any other lock would exclude no one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except (BlockingIOError, FileNotFoundError):
        return False


def is_trustworthy(parent: str) -> bool:
    """Return whether only this user and root can replace a directory that is created in this one."""
    try:
        found = os.stat(parent)
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(found.st_mode & stat.S_ISVTX)
    return closed and found.st_uid in (0, os.geteuid())


def give(path: str, uid: int, gid: int) -> None:
    """Change the owner of a tree to the servers' user; symbolic links are not followed."""
    if os.lstat(path).st_uid == uid:
        return
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            os.lchown(os.path.join(folder, name), uid, gid)
    os.lchown(path, uid, gid)  # last: its owner tells that the tree is complete


def write_whole(path: str, data: bytes) -> None:
    """Replace a file atomically."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def remove_tree(path: str) -> None:
    """Remove a directory tree; entries that cannot be removed stay."""
    shutil.rmtree(path, ignore_errors=True)
