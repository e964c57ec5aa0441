"""The base of the five contracts: wraps every contract method in the interceptors that surround a call."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import time
from abc import ABC
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, cast
from uuid import UUID

from convostore.call.call import Call, Interceptor, Proceed, Surrounding, chain, running
from convostore.call.deadlines import DEFAULT_TIMEOUT, keep_deadline
from convostore.call.effects import Effect, effect_of
from convostore.call.health import BackendHealth
from convostore.call.lifetime import Lifetime
from convostore.call.logs import log, log_failure
from convostore.call.metrics import Measure
from convostore.call.retries import retry
from convostore.call.tenants import BindTenant, tenant_of
from convostore.call.tracing import Trace
from convostore.call.translation import UNANSWERED, Translate, translated
from convostore.call.validation import ArgumentCheck, Deadline, Validate
from convostore.errors import ConnectionError, StoreError, ValidationError
from convostore.models.fields import new_id, now

T = TypeVar("T")
P = ParamSpec("P")


def checked(method: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of a method that is made of contract methods or reaches no backend, as theirs are: at once.

    The method receives checked copies. What is wrong raises ValidationError, a missing or unknown argument included.
    """
    check, run = ArgumentCheck(method), cast("Callable[..., Any]", method)

    def arguments_of(store: Store, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = check.named(args, kwargs)
        try:
            return check(given)
        except ValidationError as error:
            error.store, error.operation = store.kind, method.__name__
            log_failure(error, store._tenant or tenant_of(given), given, 0.0)
            raise

    @functools.wraps(method)
    def called(self: Store, /, *args: Any, **kwargs: Any) -> Any:
        return run(self, **arguments_of(self, args, kwargs))

    @functools.wraps(method)
    async def awaited(self: Store, /, *args: Any, **kwargs: Any) -> Any:
        return await run(self, **arguments_of(self, args, kwargs))

    return cast("Callable[P, T]", awaited if inspect.iscoroutinefunction(method) else called)


class Store(ABC):
    """A store. A class that implements a contract writes plain methods; arguments are checked copies there.

    Args:
        timeout: the deadline of a call, in seconds.
        clock: returns the current time, aware.
    """

    kind: ClassVar[str]
    """What the store keeps, as it stands in errors, logs and traces."""
    system: ClassVar[str] = "other_sql"
    """The backend's name in OpenTelemetry's `db.system.name`."""
    connected: ClassVar[bool] = False
    """Whether the store has connections to a server, which belong to one event loop of one process.

    Its driver sets `Call.sent` before it sends anything: what failed before that certainly was not applied.
    """

    tenant_required: bool = False
    """Whether every call must name a tenant, for ids are unique per tenant alone."""

    def __init__(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._tenant: UUID | None = None
        self._lifetime = Lifetime(connected=self.connected)
        self._interceptors: tuple[Interceptor, ...] = ()
        self._interceptors_of_attempts: tuple[Interceptor, ...] = ()
        # Around deadline and retries, with checked arguments.
        self._interceptors_of_answers: tuple[Interceptor, ...] = ()
        self._surroundings: dict[Callable[..., Any], Proceed] = {}

    @property
    def timeout(self) -> float:
        """The deadline of a call, in seconds."""
        return self._timeout

    @checked
    def within(self, seconds: Deadline) -> Self:
        """Return this store with another deadline per call, in seconds above 0, on the same connections."""
        twin = self._twin()
        twin._timeout = seconds
        return twin

    @checked
    def for_tenant(self, tenant_id: UUID) -> Self:
        """Return this store bound to one tenant: calls that name another raise ValidationError, others find nothing."""
        if self._tenant not in (None, tenant_id):
            raise ValidationError("tenant_id: this store is bound to another tenant")
        twin = self._twin()
        twin._tenant = tenant_id
        return twin

    def with_interceptors(self, *interceptors: Interceptor) -> Self:
        """Return this store with interceptors around every call, the first outermost, outside those it has already."""
        twin = self._twin()
        twin._interceptors = (*interceptors, *self._interceptors)
        return twin

    def _with_interceptors_of_attempts(self, *interceptors: Interceptor) -> Self:
        """Return this store with interceptors around every attempt of a call; see `testing.faults.around_attempts`."""
        twin = self._twin()
        twin._interceptors_of_attempts = (*interceptors, *self._interceptors_of_attempts)
        return twin

    def _without_interceptors(self) -> Self:
        """Return this store without interceptors of the application, for calls within one that has passed them."""
        twin = self._twin()
        twin._interceptors = twin._interceptors_of_attempts = ()
        return twin

    def _surround_as(self, other: Store) -> None:
        """Bind, intercept and end this store as another is."""
        self._tenant, self._lifetime = other._tenant, other._lifetime
        self._interceptors = other._interceptors
        self._interceptors_of_attempts = other._interceptors_of_attempts

    def _end_lifetime(self) -> None:
        """Refuse every later call of this store and its twins: what they stand on is closed."""
        self._lifetime.end()

    async def health_check(self) -> bool:
        """Return whether the backend answers within the deadline; a failure is logged, not raised."""
        return await self._failure_of(self._ping) is None

    async def _health(self) -> dict[str, BackendHealth]:
        """Return how the backend is, by its name. Backends with a server extend this."""
        return {"memory": await self._examined(self._ping, lambda _: BackendHealth(ok=True))}

    async def _examined(self, ask: Callable[[], Awaitable[T]], report: Callable[[T], BackendHealth]) -> BackendHealth:
        """Ask the backend, and return a report on its answer, or on the failure, which is logged."""
        started, answers = time.monotonic(), list[T]()

        async def asked() -> None:
            answers.append(await ask())

        if failure := await self._failure_of(asked):
            return BackendHealth(ok=False, problem=str(failure))
        return replace(report(*answers), latency=time.monotonic() - started)

    async def _failure_of(self, work: Callable[[], Awaitable[object]]) -> StoreError | None:
        """Return how work on the backend fails, which is logged, or None if it succeeds within the deadline."""
        started = time.monotonic()
        try:
            self._lifetime.check()
            try:
                async with asyncio.timeout(self._timeout):
                    await work()
            except TimeoutError as late:
                raise ConnectionError(UNANSWERED, code="timeout") from late
        except Exception as failure:  # noqa: BLE001  (whatever it is, the answer is no)
            error = failure if isinstance(failure, StoreError) else self._translate(failure)
            error.store, error.operation, error.outcome = self.kind, "health_check", "not_applied"
            log_failure(error, self._tenant, {}, time.monotonic() - started)
            return error
        return None

    async def _ping(self) -> None:  # noqa: B027  (a store in memory has nobody to ask)
        """Make one round trip to the backend. Backends extend this."""

    def _translate(self, error: Exception) -> StoreError:
        """Return the error of the vocabulary that a driver's error means. Backends extend this."""
        return translated(error)

    def _twin(self) -> Self:
        twin = copy.copy(self)
        twin._surroundings = {}
        return twin

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, method in list(vars(cls).items()):
            if name.startswith("_") or getattr(method, "__isabstractmethod__", False):
                continue
            if contract := _contract_method(cls, name):
                setattr(cls, name, _surrounded(contract, method))
            elif "kind" in vars(cls) and inspect.isfunction(method):
                setattr(cls, name, checked(method))  # What a contract makes of its own methods.


def _contract_method(cls: type, name: str) -> Callable[..., Any] | None:
    for base in cls.__mro__[1:]:
        method = vars(base).get(name)
        if getattr(method, "__isabstractmethod__", False):
            return method
    return None


def _surrounded(contract: Callable[..., Any], method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    operation, declared, check = contract.__name__, effect_of(contract), ArgumentCheck(contract)

    def chain_of(store: Store) -> Proceed:
        async def run(call: Call) -> Any:
            call.sent = call.sent or not store.connected
            outer = running.get()
            token = running.set(call)
            try:
                return await method(store, **call.arguments)
            finally:
                running.reset(token)
                if outer is not None and call.effect is not Effect.READ:
                    outer.sent = outer.sent or call.sent

        interceptors: tuple[Surrounding, ...] = (
            *store._interceptors,
            Measure(store.system),
            Trace(store.system),
            log,
            store._lifetime,
            Validate(check),
            BindTenant(store._tenant, required=store.tenant_required),
            *store._interceptors_of_answers,
            keep_deadline,
            retry,
            Translate(store._translate),
            *store._interceptors_of_attempts,
        )
        return chain(interceptors, run)

    @functools.wraps(contract)
    async def call(self: Store, /, *args: Any, **kwargs: Any) -> Any:
        arguments = check.named(args, kwargs)
        # Another caller may have acted on what was written: `overwrite` is not idempotent.
        effect = Effect.NON_IDEMPOTENT if arguments.get("overwrite") else declared
        deadline = asyncio.get_running_loop().time() + self._timeout
        if outer := running.get():
            deadline = min(deadline, outer.deadline)
        proceed = self._surroundings.get(method)
        if proceed is None:
            proceed = self._surroundings[method] = chain_of(self)
        tenant_id = self._tenant or tenant_of(arguments)
        return await proceed(Call(self.kind, operation, tenant_id, arguments, new_id(), deadline, effect))

    del call.__isabstractmethod__  # type: ignore[attr-defined]
    return call
