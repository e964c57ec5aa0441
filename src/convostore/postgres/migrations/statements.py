"""Migrations as SQL files: one statement per execute."""

from __future__ import annotations

import re
from importlib.resources import files

from alembic import op


def run(name: str) -> None:
    """Run a file of `versions/` in the migration that is under way.

    Args:
        name: the file. Its statements end with a semicolon before an empty line.
    """
    text = files("convostore.postgres.migrations").joinpath("versions", name).read_text("utf-8")
    for statement in re.split(r";\s*\n\s*\n", text):
        if bare := statement.strip().removesuffix(";"):
            op.get_bind().exec_driver_sql(bare)
