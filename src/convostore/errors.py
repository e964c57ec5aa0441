"""The five errors that leave a store; nothing else does but cancellation."""

from __future__ import annotations

import builtins
from typing import Literal

__all__ = ["ConflictError", "ConnectionError", "NotFoundError", "StoreError", "ValidationError"]

Outcome = Literal["not_applied", "unknown"]


class StoreError(Exception):
    """A store failed.

    Attributes:
        retryable: whether the same call may succeed if repeated.
        outcome: `"not_applied"` when the call certainly changed nothing, `"unknown"` when the answer was lost.
        store: the kind of store: session, config, memory, audit or profile; None outside a store.
        operation: the contract method that was called.
        code: what the backend called it: SQLSTATE, constraint name or Redis error prefix.
    """

    retryable: bool = False

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


class ConnectionError(StoreError, builtins.ConnectionError):
    """The backend could not be reached, or could not serve the call in time."""

    retryable = True


class NotFoundError(StoreError):
    """A write names a parent that is not there."""


class ConflictError(StoreError):
    """A unique key or a revision stands against the write.

    Attributes:
        current_revision: the stored revision, when a stale one was refused; None where there is nothing to compare.
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
