"""The effect of a contract method: whether it may be repeated after its answer was lost."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Effect(Enum):
    """What repeating a call does after its answer was lost."""

    READ = "read"
    """Nothing: the call changes nothing."""
    IDEMPOTENT = "idempotent"
    """Nothing more: the write recognises itself by id, content or write id, and answers the same."""
    NON_IDEMPOTENT = "non_idempotent"
    """A second effect or another answer: the call is only repeated if it certainly was not applied."""


def idempotent(method: F) -> F:
    """Mark a contract method as an idempotent write."""
    method.__effect__ = Effect.IDEMPOTENT  # type: ignore[attr-defined]
    return method


def non_idempotent(method: F) -> F:
    """Mark a contract method as a write that must not be repeated blindly."""
    method.__effect__ = Effect.NON_IDEMPOTENT  # type: ignore[attr-defined]
    return method


def effect_of(method: Callable[..., Any]) -> Effect:
    """Return the declared effect of a contract method; unmarked methods read."""
    effect: Effect = getattr(method, "__effect__", Effect.READ)
    return effect
