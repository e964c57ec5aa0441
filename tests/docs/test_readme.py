"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, blocks, output_of

README = (ROOT / "README.md").read_text()


def test_the_example_is_twelve_lines_and_runs(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    assert example == (ROOT / "examples" / "quickstart.py").read_text()
    assert sum(1 for line in example.splitlines() if line) == 12
    assert "user_channel_id='ann@example.com'" in output_of(example, CONVOSTORE_HOME=str(tmp_path / "home"))[0]


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_make_target_it_names_exists() -> None:
    named = set(re.findall(r"make (\w+)", README)) | set(re.search(r"`make ([a-z ]+)` do", README)[1].split())  # type: ignore[index]
    rules = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= rules
