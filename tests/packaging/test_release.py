"""`make release` refuses what is not ready."""

from __future__ import annotations

import pytest

from convostore import __version__
from scripts.environments import ROOT
from scripts.release import problems

READY = """# Changelog

## [Unreleased]

## [1.2.0] - 2030-01-31

### Added

- All.

## [1.1.0] - 2029-12-31
"""


def test_what_is_ready_has_no_problems() -> None:
    assert [*problems(READY, "1.2.0", "", "v1.1.0\nv1.0.0\n")] == []
    assert [*problems(READY.replace("## [Unreleased]\n\n", ""), "1.2.0", "", "")] == []


@pytest.mark.parametrize(
    ("changelog", "changed", "tags", "said"),
    [
        (READY, " M README.md\n", "", "the tree is not clean:\n M README.md"),
        (READY, "", "v1.1.0\nv1.2.0\n", "v1.2.0 is tagged"),
        (READY.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), "", "", "has unreleased changes"),
        (READY.replace("1.2.0", "1.3.0"), "", "", "is of 1.3.0, not of 1.2.0"),
        (READY.replace(" - 2030-01-31", ""), "", "", "does not say when 1.2.0 is released"),
        (READY.replace("### Added\n\n- All.\n", ""), "", "", "says nothing of 1.2.0"),
        ("# Changelog\n", "", "", "is of None, not of 1.2.0"),
    ],
)
def test_what_is_in_the_way_is_said(changelog: str, changed: str, tags: str, said: str) -> None:
    (found,) = problems(changelog, "1.2.0", changed, tags)
    assert said in found


def test_the_newest_section_of_the_changelog_is_of_the_version() -> None:
    found = problems((ROOT / "CHANGELOG.md").read_text("utf-8"), __version__, "", "")
    assert [problem for problem in found if "unreleased" not in problem] == []
