"""Values as a newer release would have stored them: every model in them has a field that this release does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from convostore.models.base import Model

NEWS = "of a newer release"


def models_in(value: Any) -> Iterator[Model]:
    """Yield the models in a value."""
    if isinstance(value, Model):
        yield value
        value = value.__dict__
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from models_in(item)


def with_news(stored: str | bytes, value: Any) -> str:
    """Return the JSON of a value with one more field in every model in the value."""
    return json.dumps(_with_news(json.loads(stored), value))


def _with_news(stored: Any, value: Any) -> Any:
    if isinstance(value, Model):
        return {name: _with_news(part, value.__dict__[name]) for name, part in stored.items()} | {NEWS: {"a": [1]}}
    if isinstance(value, list):
        return [_with_news(one, part) for one, part in zip(stored, value, strict=True)]
    if isinstance(value, dict) and any(isinstance(part, Model) for part in value.values()):
        return {name: _with_news(stored[name], part) for name, part in value.items()}
    return stored
