"""Answers made comparable: without what differs between two worlds of the same history."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python

from convostore.testing.isolation.worlds import World

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def normalised(answer: Any, world: World) -> str:
    """Return an answer as text, in which ids have names, and hashes and times of writing are left out."""
    plain = to_jsonable_python(answer, inf_nan_mode="strings", serialize_unknown=True)
    text = repr(_sorted(plain))
    text = _UUID.sub(lambda found: _named(UUID(found[0]), world), text)
    return _TIME.sub(_moment, _HASH.sub("<hash>", text))


def _named(found: UUID, world: World) -> str:
    return "<tenant>" if found == world.tenant else world.ids.known.get(found, "<new>")


def _moment(found: re.Match[str]) -> str:
    moment = datetime.fromisoformat(found[0])
    return "<now>" if abs(moment - datetime.now(UTC)) < timedelta(days=1) else found[0]


def _sorted(value: Any) -> Any:
    """Return JSON with the names of objects in order: they have none that counts. Ids stay in theirs."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: _UUID.sub("", key))}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
