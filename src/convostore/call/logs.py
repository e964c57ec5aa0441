"""One log record per failure: what happened to which call, never what it carried."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from convostore.call.call import Call, Proceed
from convostore.errors import ConflictError, NotFoundError, StoreError, ValidationError
from convostore.models.base import Model

# An application that sets up no logging hears nothing of ours.
logging.getLogger("convostore").addHandler(logging.NullHandler())


async def log(call: Call, proceed: Proceed) -> Any:
    """Say in an error which call failed, and log it, once: by the innermost call that it left."""
    started = time.monotonic()
    try:
        return await proceed(call)
    except StoreError as error:
        if error.store is None:
            error.store, error.operation = call.store, call.operation
            log_failure(error, call.tenant_id, call.arguments, time.monotonic() - started)
        raise


def log_failure(error: StoreError, tenant_id: UUID | None, arguments: Mapping[str, Any], seconds: float) -> None:
    """Log a failed call on `convostore.<store>`: errors of the infrastructure as ERROR, of the caller as INFO."""
    entity_id = _entity(arguments)
    level = logging.INFO if isinstance(error, ConflictError | NotFoundError | ValidationError) else logging.ERROR
    logging.getLogger(f"convostore.{error.store}").log(
        level,
        "%s.%s failed: %s",
        error.store,
        error.operation,
        type(error).__name__,
        extra={
            "store": error.store,
            "operation": error.operation,
            "tenant_id": tenant_id and str(tenant_id),
            "entity_id": entity_id and str(entity_id),
            "code": error.code,
            "outcome": error.outcome,
            "duration": seconds,
        },
    )


def _entity(arguments: Mapping[str, Any]) -> UUID | None:
    """Return the first id other than the tenant's that arguments name, themselves or by a model."""
    for name, value in arguments.items():
        if isinstance(value, Model):
            value = next((getattr(value, key) for key in ("id", "turn_id", "session_id") if hasattr(value, key)), None)
        if name != "tenant_id" and isinstance(value, UUID):
            return value
    return None
