"""What an installation consists of: no package and no size that the page on dependencies does not name."""

from __future__ import annotations

import platform
import re
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import convostore
from scripts.environments import ROOT

PAGE = (ROOT / "docs" / "explanation" / "dependencies.md").read_text("utf-8")
ROWS = re.findall(r"^\| (.+?) \| (?:(.+) \| )?(\d+) \|", PAGE, re.MULTILINE)
PACKAGES = {tuple(first.split(", ")): int(size) for first, adds, size in ROWS if not adds}
EXTRAS = {first.strip("`"): (set(re.split("[,;] ", adds)), int(size)) for first, adds, size in ROWS if adds}
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
pytestmark = pytest.mark.skipif(
    f"sqlalchemy=={version('sqlalchemy')} " not in LOCK, reason="the page is about the newest versions"
)
measured = pytest.mark.skipif(
    (platform.system(), platform.machine(), *platform.python_version_tuple()[:2]) != ("Linux", "x86_64", "3", "11"),
    reason="the sizes on the page are those on Linux x86-64 with Python 3.11",
)
OLD_PYTHON = {"async-timeout"}
"""Needed by Python before 3.11.3 alone."""


def installed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of the packages that a package needs with some extras, its own included."""
    found, pending = set[tuple[str, frozenset[str]]](), {(name, extras)}
    while pending:
        found.add(each := pending.pop())
        for line in distribution(each[0]).requires or ():
            needed = Requirement(line)
            if any(needed.marker is None or needed.marker.evaluate({"extra": extra}) for extra in ("", *each[1])):
                pending.add((canonicalize_name(needed.name), frozenset(needed.extras)))
        pending -= found
    return {name for name, _ in found} - OLD_PYTHON


def size(*names: str) -> float:
    """Return the size of packages in MiB, without byte code."""
    files = [Path(str(file.locate())) for name in names for file in distribution(name).files or ()]
    if "convostore" in names:  # which is installed by reference
        files += Path(convostore.__file__).parent.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc") / 2**20


def test_what_is_installed_is_on_the_page() -> None:
    assert {name for names in PACKAGES for name in names} == installed("convostore")
    assert f"installs {len(installed('convostore'))} packages" in PAGE


@measured
def test_the_sum_is_on_the_page() -> None:
    total = re.search(r"packages of (\d+) MiB", PAGE)
    assert total is not None
    assert int(total[1]) - 3 < size(*installed("convostore")) <= int(total[1])


@measured
@pytest.mark.parametrize("names", PACKAGES, ids=", ".join)
def test_no_package_is_larger_than_the_page_says(names: tuple[str, ...]) -> None:
    assert size(*names) <= PACKAGES[names]


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_adds_what_the_page_says(extra: str) -> None:
    names, _ = EXTRAS[extra]
    assert installed("convostore", frozenset({extra})) - installed("convostore") == names


@measured
@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_is_larger_than_the_page_says(extra: str) -> None:
    names, limit = EXTRAS[extra]
    assert size(*names) <= limit


def test_the_page_has_every_extra() -> None:
    assert EXTRAS.keys() | {"all"} == set(distribution("convostore").metadata.get_all("Provides-Extra") or ())
