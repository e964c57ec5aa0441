"""The statements within a PL/pgSQL function, as trees in which its variables are parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.postgres.citus_rules import EVERYWHERE, RULES, WRITES, calls, of_kind, pgparse, tables

_ROW = re.compile(r"^(\s+\w+ )convostore\.\w+;", re.MULTILINE)
"""The declaration of a variable for a row, of whose type the parser knows nothing."""


def bodies(definition: str) -> Iterator[Any]:
    """Yield the tree of every statement and expression of a function; what it composes itself only as an expression."""
    (function,) = pgparse.parse_pgsql(_ROW.sub(r"\1record;", definition))
    datums = [next(iter(each.values())) for each in function["PLpgSQL_function"]["datums"]]
    names = {name: number for number, each in enumerate(datums, 1) if (name := each.get("refname"))}
    for expression in of_kind(function, "PLpgSQL_expr"):
        text = expression["query"]
        if expression.get("parseMode", 0):
            text = f"SELECT ({text.rpartition(':=')[2]})"
        yield _numbered(pgparse.parse(text), names)


def _numbered(tree: Any, names: dict[str, int]) -> Any:
    """Return a tree with parameters instead of variables and their fields."""
    if isinstance(tree, list):
        return [_numbered(each, names) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if "ColumnRef" in tree:
        first = tree["ColumnRef"]["fields"][0].get("String", {}).get("sval")
        if first in names:
            return {"ParamRef": {"number": names[first]}}
    return {kind: _numbered(each, names) for kind, each in tree.items()}


def broken(definition: str, *, across: bool) -> list[str]:
    """Return what Citus would refuse of a function's statements; of one that reads every shard it asks no tenant."""
    return [
        f"{name}: {what}"
        for tree in bodies(definition)
        for name, rule in RULES.items()
        if name not in ("inserted_tenant", *(["one_tenant"] if across else []))
        for what in rule("", tree)
    ]


def unbound(definition: str) -> list[str]:
    """Return the tables of query blocks that do not bind: a setting of the function would not reach the shards."""
    return [
        str(table["relname"])
        for tree in bodies(definition)
        for block in of_kind(tree, "SelectStmt", "UpdateStmt", "DeleteStmt")
        for table in tables([block.get("fromClause"), {"": {"UpdateStmt": block}} if "relation" in block else None])
        if table["relname"] not in EVERYWHERE and "bind" not in calls(block.get("whereClause"))
    ]


def local(definition: str) -> list[str]:
    """Return the tables of the catalogue, which is one node's, that a statement reads beside those of the schema."""
    return [
        str(table["relname"])
        for tree in bodies(definition)
        if tables(tree)
        for table in of_kind(tree, "RangeVar")
        if table["relname"].startswith("pg_")
    ]


def written(definition: str) -> set[str]:
    """Return the tables that a function writes."""
    return {
        str(node["relation"]["relname"])
        for tree in bodies(definition)
        for node in of_kind(tree, *WRITES)
        if node["relation"].get("schemaname") == "convostore"
    }
