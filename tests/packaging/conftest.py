"""What `make build` makes, from the tree as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a distribution offline into a directory of its own; return its file."""

    def built(form: str, source: Path = ROOT) -> Path:
        out = tmp_path_factory.mktemp(form)
        command = ("build", f"--{form}", "--offline", "--no-build-isolation", "--python", sys.executable)
        done = subprocess.run(
            [UV, *command, "--out-dir", out, source], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        (file,) = (path for path in out.iterdir() if path.name != ".gitignore")
        return file

    return built


@pytest.fixture(scope="session")
def wheel(build: Callable[..., Path]) -> Path:
    """The wheel, built from the tree."""
    return build("wheel")


@pytest.fixture(scope="session")
def sdist(build: Callable[..., Path]) -> Path:
    """The source distribution."""
    return build("sdist")
