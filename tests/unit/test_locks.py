"""The offline check of the lock files passes, and can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.check_locks import pinned, problems

ROOT = Path(__file__).parent.parent.parent
HASH = f"    --hash=sha256:{'0' * 64}"
LOCK = f"one==1.2.3 \\\n{HASH} \\\n{HASH}\n    # via two\ntwo==2.0 ; python_version > '3' \\\n{HASH}\n"
LICENCES = {"one": "MIT", "two": "MIT"}


def test_the_locks_are_as_they_should_be() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "check_locks.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_requirements_are_read_with_their_hashes() -> None:
    assert list(pinned(LOCK)) == [("one", "1.2.3", 2), ("two", "2.0", 1)]


@pytest.mark.parametrize(
    ("lock", "licences", "floors", "problem"),
    [
        (LOCK, LICENCES, {"one": "1.2.3"}, None),
        (LOCK, LICENCES, {"one": "1.10"}, "lock: one 1.2.3 is below its security floor 1.10"),
        ("one==1.2.3\n", {"one": "MIT"}, {}, "lock: one has no hash"),
        (LOCK, {"one": "MIT"}, {}, "lock: the licence of two is not listed"),
        (LOCK, LICENCES | {"three": "MIT"}, {}, "licences: three is not locked"),
        ("", {}, {}, "lock: locks nothing"),
        (f"pytest==9.2 \\\n{HASH}\n", {"pytest": "GPL"}, {}, "licences: pytest declares 'MIT', listed is 'GPL'"),
    ],
)
def test_what_is_wrong_is_named(
    lock: str, licences: dict[str, str], floors: dict[str, str], problem: str | None
) -> None:
    assert list(problems({"lock": lock}, licences, floors)) == ([] if problem is None else [problem])
