"""Pages name files that exist, stand on the shelf they belong to, and need nothing from other servers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, output_of
from tests.unit.test_floors import FLOORS

PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
BASES = (ROOT, ROOT / "src", ROOT / "src" / "convostore")
MADE = {"site/", "dist/"}
"""Folders that commands make."""


def test_every_path_that_a_page_names_exists() -> None:
    missing = {}
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        named = {*re.findall(r"`((?:[\w.-]+/)+[\w.*-]*)`", prose)} - MADE
        if lost := {path for path in named if not any(list(base.glob(path)) for base in BASES)}:
            missing[page.name] = lost
    assert missing == {}


def test_every_section_says_what_belongs_there() -> None:
    sections = {page.parent for page in DOCS.rglob("*.md")} - {DOCS}
    assert {section for section in sections if not (section / "index.md").exists()} == set()


def test_every_decision_is_listed() -> None:
    index = (DOCS / "decisions" / "index.md").read_text("utf-8")
    pages = {page.name for page in (DOCS / "decisions").glob("0*.md")}
    assert set(re.findall(r"\((0\S+\.md)\)", index)) == pages


def test_the_architecture_page_shows_the_floors_as_they_are() -> None:
    page = (DOCS / "explanation" / "architecture.md").read_text("utf-8")
    rows = re.findall(r'^<div class="rooms">$.*?^</div>$|^<div[^\n]*<b>[^\n]*$', page, re.MULTILINE | re.DOTALL)
    drawn = [set(re.findall(r"<b>(\w+)</b>", row)) for row in rows]
    assert drawn == [{name or "convostore" for name in names} for names in reversed(FLOORS)]


def test_the_example_of_the_interceptors_page_runs() -> None:
    (example,) = blocks(DOCS / "reference" / "interceptors.md", "python")
    assert output_of(example) == ["session get fast"]


@pytest.mark.slow
def test_the_site_loads_nothing_from_other_servers(site: Path) -> None:
    loaded = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(https?:)?//')
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))  # and one for what is not found
    assert [page.name for page in pages if loaded.search(page.read_text("utf-8"))] == []


def test_llms_txt_names_every_page_but_decisions_and_links_lead_to_pages() -> None:
    """The form of llmstxt.org: a title, a summary, and lists of links below headings."""
    text = (DOCS / "llms.txt").read_text("utf-8")
    assert re.match(r"# \w+\n\n> .+\n", text)
    linked = {DOCS / target.replace(".html", ".md") for target in re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text, re.M)}
    assert {target for target in linked if not target.exists()} == set()
    pages = {page for page in DOCS.rglob("*.md") if page.name != "index.md" and page.parent.name != "decisions"}
    assert pages - linked == set()
