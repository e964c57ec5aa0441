"""The wheel on every Python: with each extra in an empty environment, and under the tests that need no server."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from scripts.environments import ROOT, TRIALS, UV, Failed, install, python_at_hand, run, try_out

TESTED = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
"""The versions that the classifiers name."""

OTHERS = [version for version in TESTED if version != "{}.{}".format(*sys.version_info)]
"""The whole suite runs on this one."""

LOCKED = ("--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements.lock")
WITHOUT_SERVERS = ("tests/unit", "tests/contract/test_inmemory.py", "tests/contract/test_bad_input.py")


@pytest.fixture(params=TESTED)
def python(request: pytest.FixtureRequest) -> str:
    """A Python of each version, as far as there is one."""
    found = python_at_hand(request.param)
    return found or pytest.skip(f"no Python {request.param} at hand")


def test_an_installed_wheel_is_complete(wheel: Path, tmp_path: Path) -> None:
    try:
        install(sys.executable, tmp_path / "env", "--offline", "--constraints", ROOT / "requirements.lock", wheel)
    except Failed as failed:
        pytest.skip(f"uv's cache lacks what `make setup` has installed: {failed}")
    try_out(tmp_path / "env", "")
    for arguments, extra in ((("convostore",), "cli"), (("python", "-c", "import convostore.testing"), "testing")):
        with pytest.raises(Failed, match=re.escape(f'pip install "convostore[{extra}]"')):
            run(tmp_path / "env" / "bin" / arguments[0], *arguments[1:])


@pytest.mark.online
@pytest.mark.parametrize("version", [*TESTED, "3.14"])
def test_the_lock_has_a_wheel_of_everything(version: str, tmp_path: Path) -> None:
    run(UV, "pip", "install", "--dry-run", "--python-version", version, "--target", tmp_path, *LOCKED)


@pytest.mark.online
@pytest.mark.timeout(300)
@pytest.mark.parametrize("extra", TRIALS)
def test_each_extra_installs_into_an_empty_environment(python: str, extra: str, wheel: Path, tmp_path: Path) -> None:
    install(python, tmp_path, f"{wheel}[{extra}]")
    try_out(tmp_path, extra)


@pytest.mark.online
@pytest.mark.timeout(900)
@pytest.mark.parametrize("python", OTHERS, indirect=True)
def test_the_tests_that_need_no_server_pass(python: str, wheel: Path, tmp_path: Path) -> None:
    install(python, tmp_path, *LOCKED)
    run(UV, "pip", "install", "--quiet", "--python", tmp_path / "bin" / "python", "--no-deps", wheel)
    print(run(tmp_path / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *WITHOUT_SERVERS))
