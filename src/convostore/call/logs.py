"""One log record per failure: what happened to which call, never what it carried."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from convostore.errors import ConnectionError, StoreError
from convostore.models.base import Model

# An application that sets up no logging hears nothing of ours.
logging.getLogger("convostore").addHandler(logging.NullHandler())


def log_failure(error: StoreError, arguments: Mapping[str, Any], seconds: float) -> None:
    """Log a failed call on `convostore.<store>`: errors of the infrastructure as ERROR, of the caller as INFO."""
    tenant, entity = _subject(arguments)
    level = logging.ERROR if isinstance(error, ConnectionError) or type(error) is StoreError else logging.INFO
    logging.getLogger(f"convostore.{error.store}").log(
        level,
        "%s.%s failed: %s",
        error.store,
        error.operation,
        type(error).__name__,
        extra={
            "store": error.store,
            "operation": error.operation,
            "tenant_id": tenant and str(tenant),
            "entity_id": entity and str(entity),
            "code": error.code,
            "outcome": error.outcome,
            "duration": seconds,
        },
    )


def _subject(arguments: Mapping[str, Any]) -> tuple[UUID | None, UUID | None]:
    """Return the tenant and the first other id that a call names."""
    named = arguments.get("tenant_id")
    tenant: UUID | None = named if isinstance(named, UUID) else None
    entity: UUID | None = None
    for name, value in arguments.items():
        if isinstance(value, Model):
            tenant = tenant or getattr(value, "tenant_id", None)
            value = next((getattr(value, key) for key in ("id", "turn_id", "session_id") if hasattr(value, key)), None)
        if entity is None and name != "tenant_id" and isinstance(value, UUID):
            entity = value
    return tenant, entity
