"""Migrations as files: `versions/NNNN_name.sql`, each with a header and the sections `-- up` and `-- down`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

PHASES = ("initial", "expand", "contract")
"""What a migration does to the schema that is there: creates it, only adds to it, or takes from it."""

LOCK_TIMEOUT = 2.0
"""How many seconds a migration waits for a table before it gives up: less than the calls that wait behind it have."""

_FILE = re.compile(r"(\d{4})_\w+\.sql")
_LAYOUT = re.compile(
    r"-- (?P<title>[^\n]+)\n-- phase: (?P<phase>\w+)\n-- compatible: (?P<compatible>\d{4})\n"
    r"\n-- up\n(?P<up>.*)\n-- down\n(?P<down>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: the version that it leads to.
        title: what it does, in one line.
        phase: one of `PHASES`.
        compatible: the oldest version whose release works on the schema after this migration.
        up: the statements that lead to the version.
        down: the statements that lead back to the version before.
    """

    version: str
    title: str
    phase: str
    compatible: str
    up: tuple[str, ...]
    down: tuple[str, ...]


def folder() -> Traversable:
    """Return the folder of the migrations."""
    return files(__package__).joinpath("versions")


def versions() -> tuple[str, ...]:
    """Return the versions that the migrations lead to, oldest first."""
    return tuple(sorted(found[1] for file in folder().iterdir() if (found := _FILE.fullmatch(file.name))))


def load() -> tuple[Migration, ...]:
    """Return the migrations, oldest first."""
    found = (file for file in folder().iterdir() if file.name.endswith(".sql"))
    return tuple(read(file) for file in sorted(found, key=lambda file: file.name))


def read(file: Traversable) -> Migration:
    """Return the migration that a file holds.

    Raises:
        ValueError: its name or its layout is not that of a migration.
    """
    name, layout = _FILE.fullmatch(file.name), _LAYOUT.fullmatch(file.read_text("utf-8"))
    if name is None or layout is None or layout["phase"] not in PHASES or layout["compatible"] > name[1]:
        raise ValueError(f"{file.name}: is no migration; see docs/howto/migrations.md")
    return Migration(
        version=name[1],
        title=layout["title"],
        phase=layout["phase"],
        compatible=layout["compatible"],
        up=statements(layout["up"]),
        down=statements(layout["down"]),
    )


def statements(text: str) -> tuple[str, ...]:
    """Return the statements of a text, each of which ends with a semicolon before an empty line."""
    return tuple(bare for part in re.split(r";\s*\n\s*\n", text) if (bare := part.strip().removesuffix(";")))
