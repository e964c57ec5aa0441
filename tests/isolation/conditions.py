"""The tenant conditions of SQL, counted against the references to tables, and neutralised one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

from tests.postgres.query_blocks import blocks, tables

_VALUE = (
    r"(?:\$\d+|\(TABLE holder\)|tenant\.id|(?:\w+\.)?(?:of_)?tenant|(?:p|NEW|OLD)\.tenant_id|\(p\)\.tenant_id)(?![\w.])"
)
CONDITION = re.compile(rf"\b(?P<alias>\w+)\.tenant_id = {_VALUE}")
"""A comparison of a table's tenant with the call's."""

NEUTRALISED = "/* neutralised */"
"""Stands where a condition was."""

_STATEMENT = re.compile(r";\s")
_FUNCTION = re.compile(
    r"^CREATE (?:OR REPLACE )?FUNCTION convostore\.(\w+)"
    r"(?:(?!\$\$|BEGIN ATOMIC|\n\n).)*?(?:\$\$.*?\$\$;|BEGIN ATOMIC.*?^END;|;$)",
    re.MULTILINE | re.DOTALL,
)


def functions() -> dict[str, str]:
    """Return the functions of the schema by name, as the migrations create them on the way up."""
    folder = files("convostore.postgres.migrations").joinpath("versions")
    texts = [
        path.read_text("utf-8").split("\n-- down\n")[0]
        for path in sorted(folder.iterdir(), key=str)
        if path.name.endswith(".sql")
    ]
    return {found[1]: re.sub(r"--[^\n]*", "", found[0]) for text in texts for found in _FUNCTION.finditer(text)}


def prepared(statement: str) -> str:
    """Return a statement with the parentheses away in which a condition may stand."""
    text = re.sub(rf"\((\w+\.tenant_id = {_VALUE})\)(?: IS TRUE)?", r"\1", statement)
    return text.replace("(TABLE holder)", "<holder>")


def references(statement: str) -> list[tuple[str, str]]:
    """Return every reference to a table, with its alias; what is inserted into is none."""
    return [found for block in _blocks(statement) for found in tables(block)]


def unconditional(statement: str) -> list[str]:
    """Return the tables that are referred to without a condition of their own in the same block, joined by AND."""
    condition = re.compile(CONDITION.pattern.replace(r"\(TABLE holder\)", "<holder>"))
    found = []
    for block in _blocks(statement):
        own = [match["alias"] for match in condition.finditer(block)]
        alternatives = re.search(r"\bOR\b|\bNOT \w+\.tenant_id", block)
        for table, alias in tables(block):
            if alias in own and not alternatives:
                own.remove(alias)
            else:
                found.append(table)
    return found


def mutants(statement: str, *, never: bool = False) -> Iterator[str]:
    """Yield the statement with each of its conditions neutralised: always true, or `never`."""
    aliases = {alias for _, alias in references(statement)}
    for found in CONDITION.finditer(statement):
        if found["alias"] not in aliases:
            continue  # It compares rows that are given.
        # The parameter stays, so that the statement takes what it did.
        kept = f"({found[0].split(' = ')[1]}) IS {'' if never else 'NOT '}NULL" if "$" in found[0] else str(not never)
        yield f"{statement[: found.start()]}{kept} {NEUTRALISED}{statement[found.end() :]}"


def _blocks(statement: str) -> Iterator[str]:
    for block in blocks(prepared(statement)):
        yield from _STATEMENT.split(block)
