"""The five errors as a handler sees them."""

from __future__ import annotations

import builtins
from typing import Literal, assert_type

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, ConnectionError, NotFoundError, StoreError, ValidationError
from convostore.models import Rule


async def handling(store: ConfigStore, rule: Rule) -> None:
    try:
        await store.save_rule(rule)
    except ConflictError as error:
        assert_type(error.current_revision, int | None)
    except StoreError as error:
        assert_type(error.retryable, bool)
        assert_type(error.outcome, Literal["not_applied", "unknown"])
        assert_type(error.store, str | None)
        assert_type(error.operation, str | None)
        assert_type(error.code, str | None)


def what_else_they_are(connection: ConnectionError, validation: ValidationError) -> tuple[OSError, ValueError]:
    also: builtins.ConnectionError = connection
    return also, validation


def all_are_store_errors(
    connection: ConnectionError, missing: NotFoundError, conflict: ConflictError, validation: ValidationError
) -> list[StoreError]:
    return [connection, missing, conflict, validation]


def what_is_refused(error: StoreError) -> None:
    error.outcome = "perhaps"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    raise StoreError("late", outcome="perhaps")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
