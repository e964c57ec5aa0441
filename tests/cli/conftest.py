"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Run:
    """Run the command line on a home of its own; return its output and exit code."""

    def completed(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CONVOSTORE_HOME": str(home), "COLUMNS": "120", **variables}
        command = [sys.executable, "-m", "convostore", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=90, check=False)

    return completed
