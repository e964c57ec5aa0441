"""The boundary around every contract method, once: check, bind the tenant, limit the time, retry, translate, log.

A class that implements a contract writes plain methods; `Store` wraps those that the contract declares. Inside,
arguments are checked copies, one deadline holds, and driver errors may simply be raised.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import math
import random
import time
from abc import ABC
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID, uuid4

from convostore.call.effects import Effect, effect_of
from convostore.call.logs import log_failure
from convostore.call.tracing import span
from convostore.call.validation import ArgumentCheck
from convostore.errors import ConnectionError, StoreError, ValidationError
from convostore.models.base import Model
from convostore.models.fields import now

DEFAULT_TIMEOUT = 5.0
_ATTEMPTS = 5
_FIRST_BACKOFF = 0.01

_write_id: ContextVar[UUID | None] = ContextVar("convostore_write_id", default=None)


def current_write_id() -> UUID:
    """Return the id of the running call, the same in every attempt: a retry recognises its own write by it."""
    write_id = _write_id.get()
    if write_id is None:
        raise RuntimeError("there is no running call")
    return write_id


class Store(ABC):
    """The base of the five contracts."""

    kind: ClassVar[str]
    """What the store keeps, as it stands in errors, logs and traces."""
    system: ClassVar[str] = "other_sql"
    """The backend's name in OpenTelemetry's `db.system.name`."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], datetime] = now) -> None:
        self._timeout = timeout
        self._clock = clock
        self._tenant: UUID | None = None

    @property
    def timeout(self) -> float:
        """The deadline of a call, in seconds."""
        return self._timeout

    def within(self, seconds: float) -> Self:
        """Return this store with another deadline per call, in seconds above 0, on the same connections."""
        if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
            raise ValidationError("seconds: must be a number above 0")
        twin = copy.copy(self)
        twin._timeout = seconds
        return twin

    def for_tenant(self, tenant_id: UUID) -> Self:
        """Return this store bound to one tenant: calls that name another raise ValidationError, others find nothing."""
        if not isinstance(tenant_id, UUID):
            raise ValidationError("tenant_id: must be a UUID")
        if self._tenant not in (None, tenant_id):
            raise ValidationError("tenant_id: this store is bound to another tenant")
        twin = copy.copy(self)
        twin._tenant = tenant_id
        return twin

    async def health_check(self) -> bool:
        """Return whether the backend answers within the deadline; a failure is logged, not raised."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                await self._ping()
        except Exception as failure:  # noqa: BLE001  (whatever it is, the answer is no)
            error = failure if isinstance(failure, StoreError) else self._translate(failure)
            error.store, error.operation, error.outcome = self.kind, "health_check", "not_applied"
            log_failure(error, {}, time.monotonic() - started)
            return False
        return True

    async def _ping(self) -> None:  # noqa: B027  (a store in memory has nobody to ask)
        """Make one round trip to the backend. Backends extend this."""

    def _translate(self, error: Exception) -> StoreError:
        """Return the error of the vocabulary that a driver's error means. Backends extend this."""
        if isinstance(error, TimeoutError):
            late = f"The call did not finish in its {self._timeout:g} s; `within(seconds)` gives it another deadline."
            return ConnectionError(late, outcome="unknown", code="timeout")
        if isinstance(error, OSError | EOFError):
            return ConnectionError("The backend could not be reached.", outcome="unknown", code=type(error).__name__)
        return StoreError(f"The call failed unexpectedly ({type(error).__name__}).", outcome="unknown")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, method in list(vars(cls).items()):
            contract = None if name.startswith("_") else _contract_method(cls, name)
            if contract is not None and not getattr(method, "__isabstractmethod__", False):
                setattr(cls, name, _bounded(contract, method))


def _contract_method(cls: type, name: str) -> Callable[..., Any] | None:
    for base in cls.__mro__[1:]:
        method = vars(base).get(name)
        if getattr(method, "__isabstractmethod__", False):
            return method
    return None


def _bounded(contract: Callable[..., Any], method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    operation = contract.__name__
    effect = effect_of(contract)

    @functools.cache
    def check() -> ArgumentCheck:
        return ArgumentCheck(contract)

    @functools.wraps(contract)
    async def call(self: Store, *args: Any, **kwargs: Any) -> Any:
        if _write_id.get() is not None:
            # Called by another store's method: the call is that one's, with its checks, its deadline and its retries.
            return await method(self, *args, **kwargs)
        started = time.monotonic()
        arguments = given = check().named(args, kwargs)
        if effect is not Effect.READ:
            # The caller may change a list during the call.
            given = {name: list(value) if isinstance(value, list) else value for name, value in given.items()}
        with span(self.kind, self.system, operation):
            try:
                arguments = check()(args, kwargs)
                _bind_tenant(self._tenant, arguments)
                # Once somebody may have read what it wrote, overwriting again would undo what they have done since.
                repeated = Effect.NON_IDEMPOTENT if arguments.get("overwrite") else effect
                result = await _attempt(self, repeated, functools.partial(method, self, **arguments), started)
            except Exception as failure:
                error = failure if isinstance(failure, StoreError) else self._translate(failure)
                error.store, error.operation = self.kind, operation
                if effect is Effect.READ:
                    error.outcome = "not_applied"
                log_failure(error, arguments, time.monotonic() - started)
                if error is failure:
                    raise
                raise error from failure
        if effect is not Effect.READ:
            _write_back(given, arguments)
        return result

    del call.__isabstractmethod__  # type: ignore[attr-defined]
    return call


async def _attempt(store: Store, effect: Effect, method: Callable[[], Awaitable[Any]], started: float) -> Any:
    token = _write_id.set(uuid4())
    try:
        async with asyncio.timeout(store._timeout):
            return await _repeat(store, effect, method, started)
    finally:
        _write_id.reset(token)


async def _repeat(store: Store, effect: Effect, method: Callable[[], Awaitable[Any]], started: float) -> Any:
    attempt, unsure = 0, False
    while True:
        attempt += 1
        try:
            return await method()
        except Exception as failure:
            error = failure if isinstance(failure, StoreError) else store._translate(failure)
            # An attempt before may have been applied whose answer was lost, whatever becomes of the last one.
            unsure = unsure or error.outcome == "unknown"
            pause = _FIRST_BACKOFF * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
            in_time = time.monotonic() - started + pause < store._timeout
            harmless = effect is not Effect.NON_IDEMPOTENT or error.outcome == "not_applied"
            if error.retryable and harmless and in_time and attempt < _ATTEMPTS:
                await asyncio.sleep(pause)
                continue
            error.outcome = "unknown" if unsure else "not_applied"
            if error is failure:
                raise
            raise error from failure


def _bind_tenant(bound: UUID | None, arguments: dict[str, Any]) -> None:
    if bound is not None and arguments.get("tenant_id", bound) is None:
        arguments["tenant_id"] = bound
    named = {tenant for tenant in _tenants(arguments) if tenant is not None}
    if bound is not None and not named <= {bound}:
        raise ValidationError("tenant_id: this store is bound to another tenant")
    if len(named) > 1:
        raise ValidationError("tenant_id: one call must name one tenant")


def _tenants(arguments: dict[str, Any]) -> Iterable[UUID | None]:
    yield arguments.get("tenant_id")
    for value in arguments.values():
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, Model):
                yield getattr(item, "tenant_id", None)


def _write_back(given: dict[str, Any], checked: dict[str, Any]) -> None:
    for name, value in given.items():
        pairs = zip(value, checked[name], strict=True) if isinstance(value, list) else ((value, checked[name]),)
        for item, stored in pairs:
            if isinstance(item, Model):
                item.__dict__.update({name: stored.__dict__[name] for name in item.store_managed})
