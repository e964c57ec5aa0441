"""What the README says is so, and the front page of the documentation shows the same example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convostore.cli.app import app
from tests.docs.pages import ROOT, blocks, output_of

README = (ROOT / "README.md").read_text()
BENCHMARKS = (ROOT / "docs" / "explanation" / "benchmarks.md").read_text("utf-8")
VECTORS = (ROOT / "docs" / "howto" / "vector-search.md").read_text("utf-8")
WORDS = {"3": "three", "4": "four", "5": "five"}


def test_the_example_is_twelve_lines_and_runs(area: Path) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    assert [example] == blocks(ROOT / "docs" / "index.md", "python")
    assert example == (ROOT / "examples" / "quickstart.py").read_text()
    assert sum(1 for line in example.splitlines() if line) == 12
    assert "user_channel_id='ann@example.com'" in output_of(example, CONVOSTORE_HOME=str(area / "home"))[0]


@pytest.mark.parametrize("page", ["README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "examples/support/README"])
def test_links_lead_to_files(page: str) -> None:
    file = ROOT / f"{page}.md"
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text("utf-8"))
    assert targets or page == "SECURITY"
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_every_make_target_it_names_exists() -> None:
    commands = re.findall(r"(?:^|`)make ([a-z -]+)", README, re.MULTILINE)
    named = {target for command in commands for target in command.split()}
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= rules


def test_its_figures_are_those_of_the_pages_that_it_names() -> None:
    explained = ROOT / "docs" / "explanation"
    packages = re.search(r"(\d+) packages are installed, (\d+) MiB", README)
    assert packages is not None
    dependencies = (explained / "dependencies.md").read_text("utf-8")
    assert "installs {} packages of {} MiB".format(*packages.groups()) in dependencies
    turn = re.search(r"unit_of_work` \| server .*?\n\| the same \| round trips \|[^|]*\| (\d+) / \1 \|", BENCHMARKS)
    assert turn is not None
    assert f"in {WORDS[turn[1]]} round trips" in README
    assert re.findall(r"recall is about [\d.]+", README) == re.findall(r"recall is about [\d.]+", VECTORS)


def test_the_versions_of_python_are_those_of_the_package() -> None:
    (row,) = re.findall(r"\| Python \| (.*) \|", README)
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert re.findall(r"3\.\d+", row) == classifiers


def test_every_command_that_it_names_exists() -> None:
    named = re.findall(r"`convostore ([a-z -]+)`", README)
    assert named
    assert not [each for each in named if CliRunner().invoke(app, [*each.split(), "--help"]).exit_code]
