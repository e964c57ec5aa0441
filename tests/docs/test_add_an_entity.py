"""The page on adding an entity leads to one that every test accepts, and no step of it can be forgotten unnoticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.applying import Step, repository_with, run, steps_of
from tests.docs.pages import DOCS

PAGE = DOCS / "howto" / "add-an-entity.md"
STEPS = steps_of(PAGE)
CODE = [step for step in STEPS if not step.file.endswith(".md")]
"""The steps that a test can miss."""

IN_MEMORY = ("tests/unit/test_public_names.py", "tests/unit/test_declarations.py", "tests/contract/test_inmemory.py")
OF_THE_TABLE = ("tests/postgres/test_keys.py", "tests/postgres/test_declarations.py")
ON_SERVERS = (
    *OF_THE_TABLE,
    "tests/contract/test_postgres.py",
    "tests/postgres/test_isolation.py",
    "tests/stores/test_values_are_read_back_equal.py",
)
PYTEST = ("pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which every step was done."""
    return repository_with(STEPS, tmp_path_factory.mktemp("followed") / "repository")


def test_the_page_counts_files_and_lines() -> None:
    files = {step.file for step in STEPS}
    lines = [line for step in STEPS for line in step.code.splitlines() if line.strip()]
    assert f"{len(files)} files, {len(lines)} lines" in PAGE.read_text("utf-8")


def test_sorting_and_formatting_is_all_that_linters_ask_for(followed: Path) -> None:
    pytest.importorskip("ruff", reason="linters are installed with the newest versions only")
    files = sorted({step.file for step in STEPS if step.file.endswith(".py")})
    for command in (["check", "--fix"], ["format"]):
        done = run(followed, "ruff", *command, *files)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_every_test_accepts_the_entity(followed: Path) -> None:
    done = run(followed, *PYTEST, *IN_MEMORY, *ON_SERVERS, "-k", "greeting or isolation or public")
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 100


@pytest.mark.slow
@pytest.mark.parametrize("step", CODE, ids=lambda step: step.title)
def test_a_forgotten_step_is_noticed(tmp_path: Path, step: Step) -> None:
    root = repository_with([other for other in STEPS if other is not step], tmp_path / "repository")
    tests = OF_THE_TABLE if step.file.endswith(".sql") else IN_MEMORY
    done = run(root, *PYTEST, *tests, "-k", "greeting or agent or config or public")
    assert done.returncode in (1, 2, 4), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [r"CALL convostore\.protect.*?;\n", r"CREATE UNIQUE INDEX.*?;\n", r' COLLATE "C"'],
    ids=["policy", "index", "order"],
)
def test_a_forgotten_part_of_the_table_is_noticed(tmp_path: Path, part: str) -> None:
    root = repository_with(STEPS, tmp_path / "repository")
    (migration,) = (root / step.file for step in STEPS if step.file.endswith(".sql"))
    text, times = re.subn(part, "", migration.read_text("utf-8"), flags=re.DOTALL)
    assert times == 1
    migration.write_text(text, "utf-8")
    done = run(root, *PYTEST, *OF_THE_TABLE, "-k", "greeting or keys")
    assert done.returncode == 1, done.stdout
