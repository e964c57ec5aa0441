"""How a contract method may be repeated: what the boundary must know of it besides its signature."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Effect(Enum):
    """What repeating a call does after its answer was lost."""

    READ = "read"
    """Nothing: the call changes nothing."""
    REPEATABLE = "repeatable"
    """Nothing more: the write finds itself done, by id, content or write id, and answers the same."""
    ONCE = "once"
    """Something else, or another answer: the call is never repeated unless it certainly was not applied."""


def writes(method: F) -> F:
    """Mark a contract method as a write that is harmless to repeat."""
    method.__effect__ = Effect.REPEATABLE  # type: ignore[attr-defined]
    return method


def writes_once(method: F) -> F:
    """Mark a contract method as a write that must not be repeated blindly."""
    method.__effect__ = Effect.ONCE  # type: ignore[attr-defined]
    return method


def effect_of(method: Callable[..., Any]) -> Effect:
    """Return the declared effect of a contract method; unmarked ones read."""
    effect: Effect = getattr(method, "__effect__", Effect.READ)
    return effect
