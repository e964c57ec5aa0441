"""What the README says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_example_is_twelve_lines_and_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert example == (ROOT / "examples" / "quickstart.py").read_text()
    assert sum(1 for line in example.splitlines() if line) == 12
    environment = {**os.environ, "CONVOSTORE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "user_channel_id='ann@example.com'" in done.stdout


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_make_target_it_names_exists() -> None:
    named = set(re.findall(r"make (\w+)", README)) | set(re.search(r"`make ([a-z ]+)` do", README)[1].split())  # type: ignore[index]
    rules = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= rules
