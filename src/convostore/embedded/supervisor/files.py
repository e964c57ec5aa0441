"""Locks, private directories and whole-file writes: the file system operations the rest relies on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator


class UnsafePath(Exception):
    """A path that is not ours alone; the text says which and why."""


def try_lock(path: str) -> int | None:
    """A descriptor that holds the exclusive lock on the file `path`, or `None` while another process holds it.

    The kernel releases it when the process ends, however it ends. The descriptor must stay open as long as the lock is
    wanted.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if _hold(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def own_directory(path: str) -> int:
    """Make a private directory, or take over one that a dead owner left; a descriptor that holds its lock.

    The lock is on the directory itself, which systemd-tmpfiles respects: it cleans nothing in there however old. What
    is there must be a real directory and ours; `UnsafePath` if it is not, or if somebody holds it.
    """
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
        if not _hold(descriptor, path):
            raise UnsafePath(f"{path} is in use")
        os.fchmod(descriptor, 0o700)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove_abandoned(root: str, prefix: str) -> None:
    """Remove the directories of this user in `root` that `own_directory` made and whose owners are dead."""
    for entry in _entries(root, prefix):
        try:
            held = own_directory(entry)
        except (OSError, UnsafePath):
            continue
        # Renamed first, so that nobody takes over what is being removed.
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
    """Lock what the descriptor stands for. A lock on something that `path` no longer names would exclude nobody."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except (BlockingIOError, FileNotFoundError):
        return False


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
