"""Wheel and sdist: what they contain, and what they say of themselves."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from convostore import __version__
from scripts.environments import ROOT

INFO = f"convostore-{__version__}.dist-info"
EXTRAS = {"all", "cli", "embedded", "otel", "testing"}
LEFT_OUT = re.compile(r"\.ci/|\.pre-commit-config\.yaml$")
"""Of the repository alone."""


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Metadata:
    """The wheel's metadata, valid by the specification of its version."""
    with ZipFile(wheel) as archive:
        return Metadata.from_email(archive.read(f"{INFO}/METADATA"), validate=True)


def tracked(*under: str) -> set[str]:
    """Return the files of the repository, new ones included."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *under)
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {name.removeprefix("src/") for name in tracked("src/convostore")}
    about = {f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert names == package | about
    assert {"convostore/py.typed", "convostore/postgres/migrations/bootstrap.sql"} < names
    assert {path.rpartition(".")[2] for path in package} == {"py", "sql", "lua", "jsonl", "typed"}


def test_the_sdist_holds_the_repository_without_what_serves_it_alone(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert names - {"PKG-INFO"} == {name for name in tracked() if not LEFT_OUT.match(name)}


def test_the_sdist_builds_the_same_wheel_and_a_second_build_the_same_files(
    build: Callable[..., Path], wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    assert build("wheel", tmp_path / sdist.name.removesuffix(".tar.gz")).read_bytes() == wheel.read_bytes()
    assert build("sdist").read_bytes() == sdist.read_bytes()


def test_version_name_and_python_are_said_once(wheel: Path, sdist: Path, metadata: Metadata) -> None:
    name, version, _, tags = parse_wheel_filename(wheel.name)
    assert (name, version) == parse_sdist_filename(sdist.name) == ("convostore", Version(__version__))
    assert (metadata.name, metadata.version) == (name, version)
    assert {str(tag) for tag in tags} == {"py3-none-any"}
    said = [found[1] for each in metadata.classifiers or () if (found := re.match(r".*:: Python :: (3\.\d+)$", each))]
    assert said
    assert metadata.requires_python is not None
    assert str(metadata.requires_python) == f">={said[0]}"


def test_the_licence_is_an_expression_and_its_text_is_inside(wheel: Path, metadata: Metadata) -> None:
    assert (metadata.license_expression, metadata.license_files) == ("Apache-2.0", ["LICENSE"])
    assert not [each for each in metadata.classifiers or () if each.startswith("License ::")]
    with ZipFile(wheel) as archive:
        assert archive.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_extras_are_as_declared_and_all_is_what_an_application_installs(metadata: Metadata) -> None:
    assert set(metadata.provides_extra or ()) == EXTRAS
    requires = metadata.requires_dist or []
    by_extra = {extra: {str(each).partition(";")[0] for each in requires if of(each, extra)} for extra in EXTRAS}
    assert by_extra["all"] == by_extra["cli"] | by_extra["embedded"] | by_extra["otel"]
    assert all(by_extra.values())


def of(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def test_the_description_is_the_readme(metadata: Metadata) -> None:
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == (ROOT / "README.md").read_text("utf-8")
    assert metadata.summary
    assert metadata.keywords
