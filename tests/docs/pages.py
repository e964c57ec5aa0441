"""The pages of the documentation, and the code on them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page that are marked with this language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def titled(page: Path) -> list[tuple[str, str]]:
    """Return the code blocks of a page that have a title, such as the file they belong to, with their titles."""
    return re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def output_of(code: str, **environment: str) -> list[str]:
    """Run a program and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
