"""Cursors of lists as text: where the next page begins."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Generic, TypeVar
from uuid import UUID

import pydantic

from convostore.domain.codec import plain_value
from convostore.errors import ValidationError
from convostore.models import Agent, Channel, CustomerProfile, Session, TurnRecord
from convostore.models.base import Model

M = TypeVar("M", bound=Model)

NOBODY = UUID(int=0)


def packed(values: list[Any]) -> str:
    """Return the text of a cursor."""
    text = json.dumps([plain_value(value) for value in values], ensure_ascii=False, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpacked(text: str, length: int) -> list[Any]:
    """Return the values in the text of a cursor.

    Raises:
        ValidationError: it is no cursor of so many values.
    """
    try:
        values = json.loads(urlsafe_b64decode(f"{text}{'=' * (-len(text) % 4)}"))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != length:
        raise no_cursor()
    return values


def no_cursor() -> ValidationError:
    """Return the error about a text that is no cursor."""
    return ValidationError("after: is no cursor of this list")


class Cursor(Generic[M]):
    """The cursors of a list.

    Args:
        model: what is listed.
        order: the fields that say where an item stands in it.
        others: values of the fields that an item must have besides.
    """

    def __init__(self, model: type[M], *order: str, **others: Any) -> None:
        self._model, self._order, self._others = model, order, others

    def behind(self, items: list[M], limit: int) -> str | None:
        """Return the cursor of the page behind a page, None if that was the last."""
        return packed([getattr(items[-1], name) for name in self._order]) if len(items) == limit else None

    def item(self, text: str | None, tenant_id: UUID) -> M | None:
        """Return an item that stands where a cursor does.

        Raises:
            ValidationError: the text is no cursor of this list.
        """
        if text is None:
            return None
        values = dict(zip(self._order, unpacked(text, len(self._order)), strict=True))
        try:
            return self._model.model_validate({**self._others, **values, "tenant_id": tenant_id})
        except pydantic.ValidationError:
            raise no_cursor() from None


AGENTS = Cursor(Agent, "name", "id")
PROFILES = Cursor(CustomerProfile, "created_at", "id")
SESSIONS = Cursor(Session, "last_activity_at", "session_id", agent_id=NOBODY, channel=Channel.API, user_channel_id="-")
TURNS = Cursor(
    TurnRecord,
    "turn_number",
    "turn_id",
    agent_id=NOBODY,
    session_id=NOBODY,
    user_message="",
    agent_response="",
    latency_ms=0,
    tokens_used=0,
)
