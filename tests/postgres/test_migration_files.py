"""Migrations as files: numbered without gaps, with a header and both directions; what is no migration is refused."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from shutil import copytree

import pytest

from convostore.postgres import migrations
from convostore.postgres.migrations import scripts
from convostore.postgres.migrations.scripts import PHASES, load, statements, versions

GOOD = """-- A table more.
-- phase: expand
-- compatible: 0001

-- up

SELECT 1;

SELECT 2;

-- down

SELECT 3;
"""

FROZEN = {"0001_first_schema.sql": "4c051712577706d1e55ee4088dcc825e331a468f2e0e41bc89fe09bf35159b41"}
"""The SHA-256 of migrations that databases have: what they should have done is done by another."""

NEXT = f"{len(load()) + 1:04}"
"""The number that follows the last migration."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which are read instead of them."""
    copy = copytree(Path(migrations.__file__).parent / "versions", tmp_path / "versions")
    monkeypatch.setattr(scripts, "folder", lambda: copy)
    return copy


def test_versions_are_numbered_from_one_without_gaps() -> None:
    assert versions() == tuple(f"{number:04}" for number in range(1, len(load()) + 1))
    assert ("base", *(migration.version for migration in load())) == migrations.VERSIONS


def test_a_frozen_migration_never_changes() -> None:
    texts = {file.name: file.read_bytes() for file in scripts.folder().iterdir()}
    assert {name: sha256(texts[name]).hexdigest() for name in FROZEN} == FROZEN


def test_the_first_migration_is_the_only_initial_one() -> None:
    first, *others = load()
    assert (first.phase, first.compatible) == ("initial", first.version)
    assert {migration.phase for migration in others} <= set(PHASES) - {"initial"}


def test_every_migration_leads_both_ways() -> None:
    for migration in load():
        assert migration.up
        assert migration.down


def test_an_expand_migration_drops_no_function_that_the_release_before_calls() -> None:
    # 0012 did: calls that were running met a function that was gone.
    expanding = [migration for migration in load() if migration.phase == "expand" and migration.version > "0012"]
    assert [each.version for each in expanding if any("DROP FUNCTION" in statement for statement in each.up)] == []


def test_a_file_says_what_a_migration_is(folder: Path) -> None:
    folder.joinpath(f"{NEXT}_more.sql").write_text(GOOD)
    migration = load()[-1]
    assert (migration.version, migration.title) == (NEXT, "A table more.")
    assert (migration.phase, migration.compatible) == ("expand", "0001")
    assert (migration.up, migration.down) == (("SELECT 1", "SELECT 2"), ("SELECT 3",))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{NEXT}_more.sql", GOOD.replace("expand", "soon")),
        (f"{NEXT}_more.sql", GOOD.replace("-- phase: expand\n", "")),
        (f"{NEXT}_more.sql", GOOD.replace("compatible: 0001", "compatible: 9999")),
        (f"{NEXT}_more.sql", GOOD.replace("-- down", "")),
        (f"{NEXT}_more.sql", GOOD.replace("-- up", "")),
        ("2_more.sql", GOOD),
    ],
)
def test_what_is_no_migration_is_refused_by_its_name(folder: Path, name: str, text: str) -> None:
    folder.joinpath(name).write_text(text)
    with pytest.raises(ValueError, match=name):
        load()


def test_only_sql_files_are_migrations(folder: Path) -> None:
    folder.joinpath(f"{NEXT}_more.py").write_text(GOOD)
    assert load()[-1].version != NEXT


def test_a_statement_ends_with_a_semicolon_before_an_empty_line() -> None:
    assert statements("\nDO $$\nBEGIN\n    x;\nEND\n$$;\n\n-- why\nSELECT ';';\n") == (
        "DO $$\nBEGIN\n    x;\nEND\n$$",
        "-- why\nSELECT ';'",
    )
