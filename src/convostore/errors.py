"""The errors of the stores. Apart from cancellation, a store raises no other exception."""

from __future__ import annotations

import builtins
from typing import Any, Literal

__all__ = ["ConflictError", "ConnectionError", "NotFoundError", "StoreError", "ValidationError"]

Outcome = Literal["not_applied", "unknown"]


class StoreError(Exception):
    """A store failed.

    Attributes:
        retryable: whether the same call may succeed when it is repeated.
        outcome: `"not_applied"` if the call has certainly changed nothing, `"unknown"` if its answer was lost.
        store: the kind of store: session, config, memory, audit, profile or turn; None outside a store.
        operation: the contract method.
        code: a code of convostore, SQLSTATE, constraint name or Redis error prefix; None if the message says it all.
        item: in a unit of work, the method whose item is refused, and the item's place among all given to that method,
            from 0; else None.
    """

    retryable: bool = False
    _key: tuple[Any, ...] | None = None
    """The key of the item that is refused, where several were given."""

    def __init__(
        self,
        message: str = "",
        *,
        retryable: bool | None = None,
        outcome: Outcome = "not_applied",
        code: str | None = None,
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])
        if retryable is not None:
            self.retryable = retryable
        self.outcome: Outcome = outcome
        self.code = code
        self.store: str | None = None
        self.operation: str | None = None
        self.item: tuple[str, int] | None = None


class ConnectionError(StoreError, builtins.ConnectionError):
    """The backend could not be reached, or did not serve the call within its deadline."""

    retryable = True


class NotFoundError(StoreError):
    """What the call refers to does not exist."""


class ConflictError(StoreError):
    """The call conflicts with a unique key, a revision or a held lock.

    Attributes:
        current_revision: the stored revision, if a stale one was refused; else None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        current_revision: int | None = None,
        retryable: bool | None = None,
        outcome: Outcome = "not_applied",
        code: str | None = None,
    ) -> None:
        super().__init__(message, retryable=retryable, outcome=outcome, code=code)
        self.current_revision = current_revision


class ValidationError(StoreError, ValueError):
    """The data or an argument is invalid; nothing was stored."""
