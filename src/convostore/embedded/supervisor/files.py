"""Locks, private directories and whole-file writes: the file system operations the rest relies on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator

ABANDONED_AFTER = 60.0
"""Seconds a directory without a lock file is left alone: its maker may not have come to locking it."""


class UnsafePath(Exception):
    """A path that is not ours alone; the text says which and why."""


def try_lock(path: str) -> int | None:
    """A descriptor that holds the exclusive lock on the file `path`, or `None` while another process holds it.

    The kernel releases it when the process ends, however it ends. The descriptor must stay open as long as the lock is
    wanted. A file that was replaced after it was opened is not accepted, for its lock would exclude nobody.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def make_private(path: str) -> None:
    """Make the directory, or check that the one there is a real directory, ours, and closed to everybody else."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UnsafePath(f"{path} is not a directory of ours: {error.strerror}") from None
    try:
        owner = os.fstat(descriptor).st_uid
        if owner != os.geteuid():
            raise UnsafePath(f"{path} belongs to uid {owner}, not to uid {os.geteuid()}")
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def is_trustworthy(parent: str) -> bool:
    """Whether nobody but us and root can replace a directory we make in this one."""
    try:
        found = os.stat(parent)
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(found.st_mode & stat.S_ISVTX)
    return closed and found.st_uid in (0, os.geteuid())


def give(path: str, uid: int, gid: int) -> None:
    """Make a tree of ours belong to the servers; links are changed themselves, not followed."""
    if os.lstat(path).st_uid == uid:
        return
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            os.lchown(os.path.join(folder, name), uid, gid)
    os.lchown(path, uid, gid)  # last: whoever finds it changed may rely on the rest


def write_whole(path: str, data: bytes) -> None:
    """Replace a file in one step, so that a reader sees the old content or the new."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def remove_tree(path: str) -> None:
    """Remove a directory with what is in it; what cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)


def abandoned(root: str, prefix: str, lock_name: str) -> Iterator[str]:
    """Directories of this user in `root` whose owner is dead, renamed so that nobody takes one while it is removed."""
    try:
        entries = list(os.scandir(root))
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(prefix):
            continue
        try:
            found = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.path.join(entry.path, lock_name)
            if not os.path.lexists(lock) and time.time() - found.st_mtime < ABANDONED_AFTER:
                continue
            held = try_lock(lock)
        except OSError:
            continue
        if held is not None:
            gone = f"{os.path.join(root, prefix)}gone-{os.urandom(8).hex()}"
            try:
                os.rename(entry.path, gone)
                yield gone
            except OSError:
                continue
            finally:
                os.close(held)
