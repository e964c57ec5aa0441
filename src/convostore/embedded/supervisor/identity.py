"""The user that the servers run as, and how a forked child becomes that user.

PostgreSQL refuses to run as root. Three modes, in order of preference:

- `self`: an ordinary user runs the servers as itself.
- `namespace`: for root, and for a uid without an account, which initdb refuses too. The child enters a user namespace
  that maps its uid to that of an ordinary account, without capabilities. Outside, the files keep the caller's uid:
  nothing is chowned and no account is created.
- `account`: for root where user namespaces are forbidden, as in most containers. The child becomes `nobody` with a
  group that has no other member; that group grants access to the directories above the data.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ON_LINUX = sys.platform == "linux"
# Loaded before any fork, as a forked child should do as little as possible. Not needed on macOS.
_libc = ctypes.CDLL(None, use_errno=True) if _ON_LINUX else None

_PRIVATE_GID = 60706
"""The first of the group ids that Debian and systemd leave unassigned, 60706 to 61183."""


class IdentityError(Exception):
    """No available user can run the servers and reach their files; the message names the remedy."""


@dataclass(frozen=True)
class Identity:
    """The user of the servers. `uid` and `gid` own their files; `inner_*` are the ids inside the namespace."""

    mode: str
    uid: int
    gid: int
    inner_uid: int
    inner_gid: int

    @property
    def owns_files_of_caller(self) -> bool:
        """Whether files that the supervisor creates belong to the servers."""
        return self.mode != "account"

    def preexec(self, parent: int, death_signal: int) -> Callable[[], None]:
        """Return what a child of `parent` runs before exec: assume this identity and die with the parent."""

        def run() -> None:
            self._become()
            # Last, as a change of credentials resets it.
            if _libc is not None:
                _call("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
                if os.getppid() != parent:
                    os.kill(os.getpid(), signal.SIGKILL)

        return run

    def _become(self) -> None:
        if self.mode == "namespace":
            _call("unshare", _CLONE_NEWUSER)
            # The kernel requires this before an unprivileged process may write gid_map.
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{self.inner_uid} {self.uid} 1")
            _write("/proc/self/gid_map", f"{self.inner_gid} {self.gid} 1")
        elif self.mode == "account":
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)

    def is_possible(self) -> bool:
        """Return whether a child can assume this identity; tried, as no setting tells reliably."""
        return _in_child(self._try_to_become) is None

    def _try_to_become(self) -> None:
        self._become()

    def can_enter(self, directory: str) -> bool:
        """Return whether the servers can traverse a directory."""
        return self.mode == "self" or self.blocked_at([directory]) is None

    def blocked_at(self, paths: Sequence[str]) -> str | None:
        """Return the first of `paths`, or of their parents, that this identity cannot traverse or execute."""
        return _in_child(lambda: self._first_blocked(paths))

    def _first_blocked(self, paths: Sequence[str]) -> str | None:
        self._become()
        for path in paths:
            parts = path.split("/")
            for depth in range(2, len(parts) + 1):
                part = "/".join(parts[:depth])
                if not os.access(part, os.X_OK):
                    return part
        return None


def choose(forced: str | None = None) -> Identity:
    """Return the identity for this process; tests force a mode. `IdentityError` if none is possible."""
    uid, gid = os.geteuid(), os.getegid()
    own = Identity("self", uid, gid, uid, gid)
    if forced is None and uid != 0 and _has_account(uid):
        return own
    if forced in (None, "namespace") and _ON_LINUX:
        # Not `nobody`, to which all unmapped files of other users seem to belong.
        account = _ordinary_account("daemon", "bin")
        if account is not None:
            inside = Identity("namespace", uid, gid, account.pw_uid, account.pw_gid)
            if inside.is_possible():
                return inside
    if uid != 0 and forced is None:
        return own  # initdb reports the missing account
    if uid == 0 and forced in (None, "account"):
        account = _ordinary_account("nobody", "daemon")
        if account is None:
            raise IdentityError("PostgreSQL refuses to run as root, and there is no account `nobody` to run it as")
        group = _unused_gid()
        lowered = Identity("account", account.pw_uid, group, account.pw_uid, group)
        if lowered.is_possible():
            return lowered
    raise IdentityError(
        "PostgreSQL refuses to run as root, and this process may neither create a user namespace nor change its uid; "
        "run it as an ordinary user"
    )


def adopt_orphans() -> None:
    """Make this process a subreaper (Linux): orphaned descendants become its children, which it can kill and reap."""
    if _libc is not None:
        _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _in_child(question: Callable[[], str | None]) -> str | None:
    """Return the answer of a forked child, or the text of its error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = question()
            data = b"-" if answer is None else b"=" + os.fsencode(answer)
        except BaseException as error:  # noqa: BLE001  a forked child must not return
            data = f"={type(error).__name__}: {error}".encode()
        os.write(writing, data[:4096])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return None if data == b"-" else os.fsdecode(data[1:])


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _ordinary_account(*preferred: str) -> pwd.struct_passwd | None:
    """Return an account other than root; initdb requires a name for its uid."""
    for name in preferred:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid > 0 and account.pw_gid > 0:
            return account
    return next((account for account in pwd.getpwall() if account.pw_uid > 0 and account.pw_gid > 0), None)


def _unused_gid() -> int:
    for gid in range(_PRIVATE_GID, _PRIVATE_GID + 400):
        try:
            grp.getgrgid(gid)
        except KeyError:
            return gid
    raise IdentityError("no unused group id between 60706 and 61105")
