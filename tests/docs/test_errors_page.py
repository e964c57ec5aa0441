"""The page of errors lists what the tables of both servers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from convostore.postgres.errors import DRIVER, INTERNAL, POOLERS, STATES
from convostore.redis.errors import DRIVER as REDIS_DRIVER
from convostore.redis.errors import REPLIES
from tests.docs.pages import DOCS

PAGE = DOCS / "reference" / "errors.md"

DRIVERS = {f"`{kind.__name__}`": meaning for kind, meaning in DRIVER.items()}
REDIS_DRIVERS = {f"`{kind.__name__}`": meaning for kind, (_, meaning) in REDIS_DRIVER.items()}


def rows(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of meanings."""
    for beginning, meaning in table.items():
        code = beginning if beginning.startswith("`") else f"`{beginning}`"
        retryable = "yes" if meaning.retryable else "no"
        message = meaning.message.replace("|", "\\|")
        yield f"| {code} | `{meaning.error.__name__}` | {message} | {retryable} | {meaning.outcome} |"


@pytest.mark.parametrize(
    "table",
    [STATES, POOLERS, INTERNAL, DRIVERS, REPLIES, REDIS_DRIVERS],
    ids=["STATES", "POOLERS", "INTERNAL", "DRIVER", "REPLIES", "REDIS"],
)
def test_the_page_lists_every_meaning(table: Mapping[str, Any]) -> None:
    assert "\n".join(rows(table)) in PAGE.read_text("utf-8")
