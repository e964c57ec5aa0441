"""What the README says is so, and the front page of the documentation shows the same example."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, blocks, output_of

README = (ROOT / "README.md").read_text()


def test_the_example_is_twelve_lines_and_runs(area: Path) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    assert [example] == blocks(ROOT / "docs" / "index.md", "python")
    assert example == (ROOT / "examples" / "quickstart.py").read_text()
    assert sum(1 for line in example.splitlines() if line) == 12
    assert "user_channel_id='ann@example.com'" in output_of(example, CONVOSTORE_HOME=str(area / "home"))[0]


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_make_target_it_names_exists() -> None:
    commands = re.findall(r"(?:^|`)make ([a-z -]+)", README, re.MULTILINE)
    named = {target for command in commands for target in command.split()}
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= rules
