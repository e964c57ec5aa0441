"""Follows a how-to in a copy of the repository: puts the code blocks of a page where their titles say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import NamedTuple

from convostore.postgres.migrations.scripts import versions
from tests.docs.pages import ROOT, titled

_TITLE = re.compile(r"(?P<file>[^,]+)(, (?P<place>above|below): (?P<line>.+)|, (?P<end>at the end))?")
_LEFT_OUT = ignore_patterns(".*", "__pycache__", "site", "dist", "build")

NEXT_VERSION = f"{len(versions()) + 1:04}"
"""The number that follows the last migration."""


class Step(NamedTuple):
    """A block of a page: a new file, or lines for one that is there.

    Attributes:
        title: `FILE`, `FILE, at the end`, `FILE, above: LINE` or `FILE, below: LINE`.
        code: the lines.
    """

    title: str
    code: str

    @property
    def file(self) -> str:
        """The file, by its path in the repository."""
        return self.title.partition(",")[0].replace("NNNN", NEXT_VERSION)

    def apply(self, root: Path) -> None:
        """Do in a copy of the repository what the block asks for."""
        asked, path = _TITLE.fullmatch(self.title), root / self.file
        assert asked, f"this is no place: {self.title}"
        if not asked["place"] and not asked["end"]:
            assert not path.exists(), f"{self.file} is there already"
            path.write_text(self.code, "utf-8")
            return
        lines = path.read_text("utf-8").splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if line.rstrip("\n") == asked["line"]]
        assert asked["end"] or len(places) == 1, f"{self.title}: the line is there {len(places)} times"
        place = len(lines) if asked["end"] else places[0] + (asked["place"] == "below")
        path.write_text("".join([*lines[:place], self.code, *lines[place:]]), "utf-8")


def steps_of(page: Path) -> list[Step]:
    """Return the steps of a page, in its order."""
    return [Step(title, code) for title, code in titled(page)]


def repository_with(steps: Iterable[Step], root: Path) -> Path:
    """Copy the repository, and do the steps in the copy."""
    copytree(ROOT, root, ignore=_LEFT_OUT, symlinks=True)
    for step in steps:
        step.apply(root)
    return root


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python in a copy of the repository, on the code in it."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
