"""What factories fill fields with: a moment, and text and JSON that a careless encoding damages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
"""A moment with microseconds, from which tests count."""

TEXT = "Grüße, 世界 👩‍👩‍👧‍👦\n“quoted” \\ back'slash\ttab"
"""Text that a careless encoding damages."""

JSON: dict[str, Any] = {
    "empty": {},
    "none": None,
    "list": [1, 2.5, "three", [], {"deep": [True, False]}],
    "big": 10**37,
    "float": 0.1,
    "whole float": 1e23,
    TEXT: TEXT,
}
"""JSON that a careless encoding damages."""


def at(seconds: float) -> datetime:
    """Return the moment this many seconds after `MOMENT`."""
    return MOMENT + timedelta(seconds=seconds)
