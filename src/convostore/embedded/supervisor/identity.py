"""As whom the servers run, and how a forked child becomes that.

PostgreSQL refuses to run as root. Three ways, in this order of preference:

- `self`: an ordinary user runs the servers as itself.
- `namespace`: root, or a uid without an account, which initdb refuses too. The child enters a user namespace in which
  its own uid has the number of an ordinary account and no capabilities. Outside, files stay the caller's; nothing is
  chowned and no account is made.
- `account`: root where user namespaces are not allowed (most containers). The child becomes `nobody` with a group of
  its own that nobody else is in; directories above the data are entered through that group.
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
# Loaded before any fork: a forked child should do as little as possible. macOS needs none of it.
_libc = ctypes.CDLL(None, use_errno=True) if _ON_LINUX else None

_PRIVATE_GID = 60706
"""First of the group ids that Debian and systemd leave unassigned (60706 to 61183)."""


class IdentityError(Exception):
    """The servers cannot run as anybody who can reach their files; the text says what to do."""


@dataclass(frozen=True)
class Identity:
    """Who runs the servers. `uid` and `gid` own their files; `inner_*` are what they see themselves as."""

    mode: str
    uid: int
    gid: int
    inner_uid: int
    inner_gid: int

    @property
    def owns_files_of_caller(self) -> bool:
        """Whether files the supervisor creates already belong to the servers."""
        return self.mode != "account"

    def preexec(self, parent: int, death_signal: int) -> Callable[[], None]:
        """The function a child of `parent` runs before exec: become this identity, then die with the parent."""

        def run() -> None:
            self._become()
            # After the change of credentials, which would reset it.
            if _libc is not None:
                _call("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
                if os.getppid() != parent:
                    os.kill(os.getpid(), signal.SIGKILL)

        return run

    def _become(self) -> None:
        if self.mode == "namespace":
            _call("unshare", _CLONE_NEWUSER)
            # Without this the kernel lets nobody unprivileged write a gid_map.
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{self.inner_uid} {self.uid} 1")
            _write("/proc/self/gid_map", f"{self.inner_gid} {self.gid} 1")
        elif self.mode == "account":
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)

    def is_possible(self) -> bool:
        """Whether a child can become this identity here; tried, because nothing that can be read tells."""
        return _in_child(self._try_to_become) is None

    def _try_to_become(self) -> None:
        self._become()

    def can_enter(self, directory: str) -> bool:
        """Whether the servers can reach what is in this directory."""
        return self.mode == "self" or self.blocked_at([directory]) is None

    def blocked_at(self, paths: Sequence[str]) -> str | None:
        """The first of `paths`, or of the directories above it, that this identity cannot enter or execute."""
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
    """The identity for this process. `forced` names a mode for tests; `IdentityError` when it is not possible."""
    uid, gid = os.geteuid(), os.getegid()
    own = Identity("self", uid, gid, uid, gid)
    if forced is None and uid != 0 and _has_account(uid):
        return own
    if forced in (None, "namespace") and _ON_LINUX:
        # Not `nobody`: it is also what files of everybody outside the namespace seem to belong to.
        account = _ordinary_account("daemon", "bin")
        if account is not None:
            inside = Identity("namespace", uid, gid, account.pw_uid, account.pw_gid)
            if inside.is_possible():
                return inside
    if uid != 0 and forced is None:
        return own  # initdb will say that the account is missing
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
    """Make this process the parent of its descendants' orphans (Linux), so that it can end and reap them."""
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
    """The answer of a forked child; its error text if it failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = question()
            data = b"-" if answer is None else b"=" + os.fsencode(answer)
        except BaseException as error:  # noqa: BLE001  whatever happens, a forked child must end here
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
    """An account that is not root; initdb wants a name for its uid."""
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
