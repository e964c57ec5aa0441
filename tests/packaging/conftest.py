"""What `make build` makes, from the tree as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.environments import ROOT, UV, run


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a distribution offline into a directory of its own; return its file."""

    def built(form: str, source: Path = ROOT) -> Path:
        out = tmp_path_factory.mktemp(form)
        offline = ("--offline", "--no-build-isolation", "--python", sys.executable)
        run(UV, "build", f"--{form}", *offline, "--out-dir", out, source)
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
