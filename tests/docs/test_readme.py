"""What the README says is so, and the front page of the documentation shows the same example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, output_of

README = (ROOT / "README.md").read_text()


def test_the_example_is_twelve_lines_and_runs(area: Path) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    assert [example] == blocks(ROOT / "docs" / "index.md", "python")
    assert example == (ROOT / "examples" / "quickstart.py").read_text()
    assert sum(1 for line in example.splitlines() if line) == 12
    assert "user_channel_id='ann@example.com'" in output_of(example, CONVOSTORE_HOME=str(area / "home"))[0]


@pytest.mark.parametrize("page", ["README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "examples/support/README"])
def test_links_lead_to_files(page: str) -> None:
    file = ROOT / f"{page}.md"
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text("utf-8"))
    assert targets or page == "SECURITY"
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_every_make_target_it_names_exists() -> None:
    commands = re.findall(r"(?:^|`)make ([a-z -]+)", README, re.MULTILINE)
    named = {target for command in commands for target in command.split()}
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= rules
