"""What redis-py's errors mean in the vocabulary of the stores."""

from __future__ import annotations

from redis import exceptions

from convostore.errors import ConnectionError, StoreError
from convostore.redis.driver import prefix_of

REFUSALS = {
    # Prefixes with which a server says that it did not run the command but may do so later.
    "READONLY": "The server is a read-only replica at the moment.",
    "OOM": "The server is out of memory.",
    "LOADING": "The server is loading its data.",
    "BUSY": "The server is busy running a script.",
    "MASTERDOWN": "The replica has lost its primary.",
    "CLUSTERDOWN": "The cluster is down.",
    "TRYAGAIN": "The cluster is moving the key.",
    "MOVED": "The cluster has moved the key.",
    "ASK": "The cluster is moving the key.",
    "NOREPLICAS": "The server has too few replicas.",
    "MISCONF": "The server cannot write its data to disk.",
    "NOAUTH": "The server asks for a password.",
    "WRONGPASS": "The server refused the password.",
}


def translated(error: exceptions.RedisError) -> StoreError:
    """Return the store error that a driver's error means. Its text is ours; the driver's may quote commands."""
    prefix = prefix_of(error)
    if prefix in REFUSALS:
        return ConnectionError(REFUSALS[prefix], code=prefix)
    if isinstance(error, exceptions.MaxConnectionsError):
        return ConnectionError("Every connection of the pool is in use.", code="pool")
    if isinstance(error, exceptions.TimeoutError):
        return ConnectionError("The server did not answer in time.", outcome="unknown", code="timeout")
    if isinstance(error, exceptions.ConnectionError):
        return ConnectionError("The connection to the server was lost.", outcome="unknown", code="connection")
    code = prefix if prefix.isupper() else type(error).__name__
    return StoreError("The server refused the call.", outcome="unknown", code=code)
