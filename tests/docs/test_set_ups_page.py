"""The page of set-ups lists the releases that are checked, and what is said of every wrong set-up."""

from __future__ import annotations

import pytest

from convostore.supported import ADVISED, REQUIRED, Version
from tests.docs.pages import DOCS
from tests.stores.setups import HOT, POSTGRES, Wrong, page

PAGE = DOCS / "reference" / "set-ups.md"


def listed(oldest: tuple[Version, ...]) -> str:
    """Return releases as the page lists them."""
    return ", ".join(".".join(map(str, each)) for each in oldest)


def test_the_page_lists_every_release_that_is_checked() -> None:
    advised = {name: listed(floor.oldest) for name, floor in ADVISED.items()}
    rows = [f"| {name} | {listed(floor.oldest)} | {advised.get(name, '')} |" for name, floor in REQUIRED.items()]
    assert "\n".join(rows) in PAGE.read_text("utf-8")


@pytest.mark.parametrize("table", [POSTGRES, HOT], ids=["PostgreSQL", "hot tier"])
def test_the_page_lists_every_set_up(table: dict[str, Wrong]) -> None:
    assert page(table) in PAGE.read_text("utf-8")
