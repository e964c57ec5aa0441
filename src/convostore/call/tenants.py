"""Tenant binding: all arguments of a call name one tenant, the one its store is bound to."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from typing import Any
from uuid import UUID

from convostore.call.call import Call, Proceed
from convostore.errors import ValidationError
from convostore.models.base import Model

UNNAMED = "tenant_id: session ids are unique per tenant here (sessions_by_tenant); name it, or call for_tenant first"


def tenant_of(arguments: Mapping[str, Any]) -> UUID | None:
    """Return the tenant that arguments name, themselves or by their first model; None if they name none."""
    tenant = arguments.get("tenant_id")
    if tenant is None:
        for value in arguments.values():
            item = value[0] if isinstance(value, list) and value else value
            if isinstance(item, Model) and (tenant := getattr(item, "tenant_id", None)):
                break
    return tenant if isinstance(tenant, UUID) else None


class BindTenant:
    """Refuses a call that names another tenant than its store is bound to, or several; fills in what was left out.

    Args:
        bound: the tenant that the store is bound to, if any.
        required: whether a call that could leave the tenant out must name it.
    """

    def __init__(self, bound: UUID | None, *, required: bool = False) -> None:
        self._bound = bound
        self._required = required

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Run the call.

        Raises:
            ValidationError: it names another tenant, or none that is required.
        """
        bound, arguments = self._bound, call.arguments
        if (bound is not None or self._required) and arguments.get("tenant_id", ...) is None:
            if bound is None:
                raise ValidationError(UNNAMED)
            call = call.with_arguments({**arguments, "tenant_id": bound})
        first = bound
        for tenant in _named(arguments):
            first = first or tenant
            if tenant is not None and tenant != first:
                other = "one call must name one tenant" if bound is None else "this store is bound to another tenant"
                raise ValidationError(f"tenant_id: {other}")
        return proceed(call)


def _named(arguments: Mapping[str, Any]) -> Iterator[UUID | None]:
    yield arguments.get("tenant_id")
    for value in arguments.values():
        if isinstance(value, Model):
            yield getattr(value, "tenant_id", None)
        elif isinstance(value, list) and value and isinstance(value[0], Model):
            # Lists of models are lists of nothing else; vectors are not walked.
            for item in value:
                yield getattr(item, "tenant_id", None)
