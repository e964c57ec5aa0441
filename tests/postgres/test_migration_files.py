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

FROZEN = {
    "0001_first_schema.sql": "4c051712577706d1e55ee4088dcc825e331a468f2e0e41bc89fe09bf35159b41",
    "0002_any_word.sql": "fc3a4e683f2b4193e2e3670de95349174c7e3d82c17ba3cb9112ab5d136a8018",
    "0003_covering_index.sql": "875e1ea1c860f3760f5b83376f46a75ac142961f5ad1418daee2cab892761657",
    "0004_names.sql": "f02e451c5f7bd1aeae8060ae6318fbaa79b40808a72d067f33c6c10715482d32",
    "0005_audit_of_one.sql": "51e2cfb692b097ef8e65e24110a1ab411ec6e3ff959704f5aa82b25250ce4957",
    "0006_every_language.sql": "8ea52b9fe96eb91f26a4cd375ca7503ac58f9f49d91248aaccc6e37579003533",
    "0007_conditions.sql": "ae96e25f61d0b06671fa91fe3c33a5e099f69a404f7de7d55968a6a19af6870e",
    "0008_large_spaces.sql": "4a94e045990a4eb2f92b093467c33c7ee2d6f8ba09bcbf5d5a56595e7ba5631d",
    "0009_text_tenants.sql": "fe959ffdf3045df7b239ea03f2eda75c537923edbaffc9f4a36e1b1c7caf36c6",
    "0010_operator.sql": "82e8f0e5db139bafd8dc1cedb1be812d3e0932e3405f9fbee7ee543089370103",
    "0011_entity_terms.sql": "a96464d6943ed3f54687e6c705ef9435ac783cd73b03df1fa9f94bf0aedfa410",
    "0012_share_of_the_query.sql": "0eb84b77e199a24218d828a7f57842e9ad0c2461d5c182699e793b1b09c536f6",
    "0013_sample_of_episodes.sql": "f08e950b2ba9dbb414419b499bc7d101f14bc009e9942a4a49ef02aecf24aada",
    "0014_purges.sql": "c0c229124aff24c57addbdc4888e2c4f27abc3d28c467f5b6da96d362e00da71",
    "0015_frozen_records.sql": "f8bb1e22b6631cb7a4f840569f4ff134d7a975530245b2268bb541e42ddb0f63",
    "0016_stale_fields.sql": "665c53db90e8860abd296504ea6e9dec4578ddebe65fa4d961d2e71682f1dce3",
    "0017_any_tenant.sql": "fc9f8e068d8637e307b9c55c98e606f30865a1c799e411b50a4d7dadcb0cfdc7",
}
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
