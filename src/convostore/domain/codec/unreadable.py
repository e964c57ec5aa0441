"""Stored values that this release cannot read: damaged, or written by one that knows more kinds of values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from convostore.call.call import running
from convostore.errors import StoreError

S = TypeVar("S")
T = TypeVar("T")


_WHY = "it is damaged, or a newer release wrote what this one does not know"


class Unreadable(StoreError):
    """A stored value cannot be read.

    Args:
        kind: what it is one of.
        key: its id.
        field: the field in which it is wrong, if that is known.
        why: what is wrong, if more is known than that it cannot be read.
    """

    def __init__(self, kind: str, key: Any, field: str | None = None, *, why: str = _WHY) -> None:
        where = f" ({field})" if field else ""
        super().__init__(f"{kind} {key}: the stored value cannot be read{where}: {why}", code="unreadable")
        self.kind = kind
        self.key = str(key)


def readable(read: Callable[[S], T], stored: Iterable[S]) -> Iterator[T]:
    """Yield stored values as they are read; those that cannot be read are logged and left out."""
    for value in stored:
        try:
            found = read(value)
        except Unreadable as error:
            _log(error)
        else:
            yield found


def _log(error: Unreadable) -> None:
    call = running.get()
    store, operation = (call.store, call.operation) if call else (error.kind, None)
    logging.getLogger(f"convostore.{store}").warning(
        "%s.%s left out what it cannot read: %s",
        store,
        operation,
        error,
        extra={
            "store": store,
            "operation": operation,
            "tenant_id": str(call.tenant_id) if call and call.tenant_id else None,
            "entity_id": error.key,
            "code": error.code,
        },
    )
