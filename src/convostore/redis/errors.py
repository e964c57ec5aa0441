"""What errors of the servers, redis-py and the operating system mean to the stores, in one table.

`Servers` translates them; its callers see store errors only.
"""

from __future__ import annotations

import functools
import re
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

from redis import exceptions

from convostore.call.translation import is_for_another_host
from convostore.errors import ConnectionError, Outcome, StoreError
from convostore.redis.driver import reply_of

P = ParamSpec("P")
T = TypeVar("T")


class Meaning(NamedTuple):
    """What a store raises for an error.

    Attributes:
        error: the class.
        message: in our words; the server's may quote commands.
        retryable: whether the same call may succeed if repeated.
        outcome: `"unknown"` if the command may have been run. `Call.sent` tells of what failed before it was sent.
    """

    error: type[StoreError]
    message: str
    retryable: bool = False
    outcome: Outcome = "not_applied"


_TOO_OLD = "The server does not know the command: it must be Redis 7.0, Valkey 7.2 or newer, and not rename commands."
_DATABASE = "The server has no such database; correct its number in the URL, on a cluster leave it out."
_PASSWORD = "The server refused the user or the password; correct them in the URL."  # noqa: S105
_NO_PASSWORD = "The server has no password, and one is given; leave it out of the URL."  # noqa: S105
_REPLICA = (
    "The server is a read-only replica; name the primary in the URL, or use redis+sentinel:// or redis+cluster://."
)
_PERMISSION = "The user lacks a permission for a command; grant those of docs/howto/clusters.md with ACL SETUSER."
_KEYS = "The user may not touch the keys of convostore; run: ACL SETUSER <user> ~convostore:*"
_LATER = "The server is a replica, or becomes one, at the moment."

REPLIES: dict[str, Meaning] = {
    # A command that was refused, and may be accepted later.
    "READONLY": Meaning(ConnectionError, _REPLICA, True),
    "OOM": Meaning(ConnectionError, "The server is out of memory; raise maxmemory, or delete or sweep sessions.", True),
    "LOADING": Meaning(ConnectionError, "The server is loading its data.", True),
    "BUSY": Meaning(ConnectionError, "The server is busy running a script.", True),
    "MASTERDOWN": Meaning(ConnectionError, "The replica has lost its primary.", True),
    "NOMASTERLINK": Meaning(ConnectionError, "The replica has lost its primary.", True),
    "CLUSTERDOWN": Meaning(ConnectionError, "The cluster is down.", True),
    "TRYAGAIN": Meaning(ConnectionError, "The cluster is moving the key.", True),
    "MOVED": Meaning(ConnectionError, "The cluster has moved the key.", True),
    "ASK": Meaning(ConnectionError, "The cluster is moving the key.", True),
    "REDIRECT": Meaning(ConnectionError, _LATER, True),
    "UNBLOCKED": Meaning(ConnectionError, _LATER, True),
    "NOREPLICAS": Meaning(ConnectionError, "The server has too few replicas.", True),
    "MISCONF": Meaning(ConnectionError, "The server cannot write its data to disk.", True),
    "NOSCRIPT": Meaning(ConnectionError, "The server has lost its scripts.", True),
    "NOGOODSLAVE": Meaning(ConnectionError, "The sentinels find no replica to promote.", True),
    "INPROG": Meaning(ConnectionError, "A failover is in progress.", True),
    "ERR max number of clients": Meaning(ConnectionError, "The server has too many clients; raise maxclients.", True),
    # Configuration: the same call will be refused again.
    "NOAUTH": Meaning(ConnectionError, "The server asks for a password; give it in the URL."),
    "WRONGPASS": Meaning(ConnectionError, _PASSWORD),
    "ERR invalid password": Meaning(ConnectionError, _PASSWORD),
    "ERR AUTH": Meaning(ConnectionError, _NO_PASSWORD),
    "ERR Client sent AUTH": Meaning(ConnectionError, _NO_PASSWORD),
    "DENIED": Meaning(ConnectionError, "The server is in protected mode; set a password, or bind it to an address."),
    "NOPROTO": Meaning(ConnectionError, "The server does not know the protocol; leave `protocol` out of the URL."),
    "ERR DB index": Meaning(ConnectionError, _DATABASE),
    "ERR invalid DB index": Meaning(ConnectionError, _DATABASE),
    "ERR SELECT is not allowed": Meaning(ConnectionError, _DATABASE),
    "ERR unknown command": Meaning(StoreError, _TOO_OLD),
    "ERR unknown subcommand": Meaning(StoreError, _TOO_OLD),
    "ERR This instance has cluster support disabled": Meaning(
        ConnectionError, "The server is no cluster; its URL begins with redis://."
    ),
    "NOPERM": Meaning(StoreError, _PERMISSION),
    "NOPERM No permissions to access a key": Meaning(StoreError, _KEYS),
    "NOPERM this user has no permissions to access one of the keys": Meaning(StoreError, _KEYS),
    "ERR ACL failure in script:": Meaning(StoreError, _PERMISSION, outcome="unknown"),
    "ERR The user executing the script": Meaning(StoreError, _PERMISSION, outcome="unknown"),
    "CROSSSLOT": Meaning(StoreError, "The cluster refused keys of several slots."),
    "EXECABORT": Meaning(StoreError, "The server discarded the transaction."),
    # Data. A script may have changed something before it met the key.
    "WRONGTYPE": Meaning(StoreError, "A key has another type than a store gives it.", outcome="unknown"),
    "ERR": Meaning(StoreError, "The server refused the call.", outcome="unknown"),
}
"""By the beginning of an error reply, the longest that fits: its prefix, after ERR also some words."""

OTHERWISE = Meaning(StoreError, "The server refused the call.", outcome="unknown")

_QUOTING = re.compile(r"(NOPERM|ERR unknown (?:sub)?command)\b")
"""The replies that quote arguments or the user."""

_LOST = Meaning(ConnectionError, "The connection to the server was lost.", True, "unknown")
_ANOTHER_HOST = Meaning(
    ConnectionError, "The server's certificate is for another host; name the one that it is for in the URL."
)
CLOSED = (
    "The server closed the connection; see whether it speaks TLS alone (rediss://), is full (maxclients), or is of "
    "another kind."
)
"""Of a server that one asks how it is."""
_LATE = Meaning(ConnectionError, "The server did not answer in time.", True, "unknown")
_FAILED = Meaning(StoreError, "redis-py failed.", outcome="unknown")

DRIVER: dict[type[BaseException], tuple[str, Meaning]] = {
    ssl.SSLCertVerificationError: (
        "certificate",
        Meaning(ConnectionError, "The server's certificate is not trusted; name its authority with ?ssl_ca_certs=."),
    ),
    ssl.SSLEOFError: ("connection", _LOST),
    ssl.SSLZeroReturnError: ("connection", _LOST),
    ssl.SSLError: (
        "tls",
        Meaning(
            ConnectionError,
            "TLS failed; if the server does not speak it, the URL begins with redis://.",
            outcome="unknown",
        ),
    ),
    exceptions.RedisClusterException: (
        "cluster",
        Meaning(ConnectionError, "No node of the cluster could be reached.", True),
    ),
    socket.gaierror: ("connection", Meaning(ConnectionError, "The host of the Redis URL is unknown.", True)),
    ConnectionRefusedError: (
        "connection",
        Meaning(ConnectionError, "Nothing listens at the host and port of the Redis URL.", True),
    ),
    FileNotFoundError: (
        "connection",
        Meaning(ConnectionError, "There is no socket at the path of the Redis URL; is the server running?", True),
    ),
    PermissionError: ("permission", Meaning(ConnectionError, "This user may not use the server's socket.")),
    exceptions.MaxConnectionsError: ("pool", Meaning(ConnectionError, "Every connection of the pool is in use.", True)),
    exceptions.TimeoutError: ("timeout", _LATE),
    TimeoutError: ("timeout", _LATE),
    exceptions.InvalidResponse: (
        "protocol",
        Meaning(ConnectionError, "What answered is no Redis or Valkey.", outcome="unknown"),
    ),
    exceptions.ConnectionError: ("connection", _LOST),
    OSError: ("connection", _LOST),
    exceptions.DataError: ("DataError", Meaning(StoreError, "redis-py cannot encode an argument.")),
    exceptions.RedisError: ("driver", _FAILED),
}
"""By class of what no server sent, the code and what it means. The first that fits the error or a cause of it."""


def translating(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function raise store errors where the driver's would escape."""

    @functools.wraps(call)
    async def translated_call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except StoreError:
            raise
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            raise translated(error) from error

    return translated_call


def translated(error: Exception) -> StoreError:
    """Return the store error that a driver's error means, with it as cause."""
    if isinstance(error, StoreError):
        return error
    code, meaning, outcome = _found(error)
    _silence(error)
    meant = meaning.error(meaning.message, retryable=meaning.retryable, outcome=outcome, code=code)
    meant.__cause__ = error
    return meant


def _silence(error: Exception) -> None:
    """Cut off from replies where they begin to quote arguments or the user."""
    for each in _causes(error):
        if found := _QUOTING.match(reply_of(each)):
            each.args = (found[1],)


def _found(error: BaseException) -> tuple[str, Meaning, Outcome]:
    """Return the code, the meaning and the outcome of an error."""
    causes = list(_causes(error))
    # A cluster that cannot be reached may have a reply as its cause.
    for reply in filter(None, map(reply_of, causes)):
        beginnings = [each for each in REPLIES if f"{reply} ".startswith(f"{each} ")]
        meaning = REPLIES[max(beginnings, key=len)] if beginnings else OTHERWISE
        # What a script was refused in its middle may follow what it has changed.
        prefix = reply.partition(" ")[0]
        code = prefix if prefix.isupper() else "ERR"
        return code, meaning, "unknown" if " script: " in reply else meaning.outcome
    if any(map(is_for_another_host, causes)):
        return "certificate", _ANOTHER_HOST, _ANOTHER_HOST.outcome
    for kind, (code, meaning) in DRIVER.items():
        if any(isinstance(each, kind) for each in causes):
            return code, meaning, meaning.outcome
    return type(error).__name__, _FAILED, _FAILED.outcome


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it comes from, each once: those that callers share may come from each other."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
