"""A call of a contract method, explicit, on its way through the interceptors to the backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from convostore.call.effects import Effect


@dataclass(slots=True)
class Call:
    """One call of one contract method.

    Interceptors pass it on as it is, or a copy with other values (`dataclasses.replace`).

    Attributes:
        store: the contract's kind: session, config, memory, audit, profile, or turn for what concerns several.
        operation: the method's name.
        tenant_id: the tenant that the store is bound to or the arguments name; None if neither does.
        arguments: the arguments by parameter name: as given before they are validated, checked copies afterwards. Not
            in its `repr`, which may be logged.
        write_id: identifies the call in what it writes; the same in every attempt. A UUID of version 7, so that what a
            call creates can have it as its id.
        deadline: when the call must have ended, on the clock of the event loop.
        effect: what repeating the call does.
        sent: whether anything was sent to the backend that may have been applied; its driver sets it before it sends.
    """

    store: str
    operation: str
    tenant_id: UUID | None
    arguments: Mapping[str, Any] = field(repr=False)
    write_id: UUID
    deadline: float
    effect: Effect
    sent: bool = False

    def with_arguments(self, arguments: Mapping[str, Any]) -> Call:
        """Return the same call with other arguments."""
        return Call(self.store, self.operation, self.tenant_id, arguments, self.write_id, self.deadline, self.effect)


Proceed: TypeAlias = Callable[[Call], Awaitable[Any]]
"""Passes a call on to the next interceptor, in the end to the backend, and returns its result."""


class Interceptor(Protocol):
    """Stands around every call of a store: sees it, may change it, its result or its error, or refuse it.

    Given to `open_stores(interceptors=…)`, the first is the outermost, and all are outside the store's own. It sees one
    call per page of `iter_…`, and one each for acquiring, renewing and releasing a lock. Of the store's exceptions it
    sees the five errors and cancellation only.
    """

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run a call: return what `await proceed(call)` returns, or something else, or raise."""


Surrounding: TypeAlias = Callable[[Call, Proceed], Awaitable[Any]]
"""An interceptor, or what does nothing after the call and so is no coroutine: it returns what `proceed` returns."""


def chain(interceptors: Sequence[Surrounding], last: Proceed) -> Proceed:
    """Return what passes a call through interceptors, the first outermost, to the last step."""
    proceed = last
    for interceptor in reversed(interceptors):
        proceed = _linked(interceptor, proceed)
    return proceed


def _linked(interceptor: Surrounding, proceed: Proceed) -> Proceed:
    return lambda call: interceptor(call, proceed)


running: ContextVar[Call | None] = ContextVar("convostore_call", default=None)
"""The call whose backend method runs in this context, so that drivers can read its write id and deadline.

A call that is made inside another is a call of its own in every respect; it only cannot outlast the outer one.
"""


@contextmanager
def nothing_applied() -> Iterator[None]:
    """Run a block whose commands apply nothing of the running call: they do not mark it as sent."""
    call = running.get()
    token = running.set(None if call is None else replace(call))
    try:
        yield
    finally:
        running.reset(token)


def current_call() -> Call:
    """Return the running call.

    Raises:
        RuntimeError: no call is running.
    """
    call = running.get()
    if call is None:
        raise RuntimeError("no call is running")
    return call
