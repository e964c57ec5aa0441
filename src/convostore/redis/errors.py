"""What redis-py's errors mean to the stores. `Servers` translates them; its callers see store errors only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from redis import exceptions

from convostore.errors import ConnectionError, StoreError
from convostore.redis.driver import prefix_of

P = ParamSpec("P")
T = TypeVar("T")

REFUSALS = {
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
"""Prefixes of replies that say: the command was not run, and may succeed later."""


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
    """Return the store error that a driver's error means, with it as cause. The driver's text may quote commands."""
    if isinstance(error, StoreError):
        return error
    meant = _meaning(error)
    meant.__cause__ = error
    return meant


def _meaning(error: Exception) -> StoreError:
    prefix = prefix_of(error)
    if prefix in REFUSALS:
        return ConnectionError(REFUSALS[prefix], code=prefix)
    match error:
        case exceptions.RedisClusterException():
            return ConnectionError("No node of the cluster could be reached.", code="cluster")
        case exceptions.MaxConnectionsError():
            return ConnectionError("Every connection of the pool is in use.", code="pool")
        case exceptions.TimeoutError():
            return ConnectionError("The server did not answer in time.", outcome="unknown", code="timeout")
        case exceptions.ConnectionError() | OSError():
            return ConnectionError("The connection to the server was lost.", outcome="unknown", code="connection")
    code = prefix if prefix.isupper() else type(error).__name__
    return StoreError("The server refused the call.", outcome="unknown", code=code)
