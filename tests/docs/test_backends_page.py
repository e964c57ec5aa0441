"""The page of backends describes every public name."""

from __future__ import annotations

import re

from convostore import backends
from tests.docs.pages import DOCS


def test_every_public_name_is_described() -> None:
    page = (DOCS / "reference" / "backends.md").read_text("utf-8")
    described = {*re.findall(r"^::: convostore\.backends\.(\w+)$", page, re.MULTILINE), *re.findall(r"`(\w+)`", page)}
    assert set(backends.__all__) - described == set()
