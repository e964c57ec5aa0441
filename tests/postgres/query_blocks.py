"""SQL taken apart into query blocks: what one SELECT, INSERT, UPDATE or DELETE says itself, without its subqueries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from convostore.postgres.tenancy import BIND_TENANT

_REFERENCE = re.compile(r"\b(?:FROM|JOIN|UPDATE|USING)\s+convostore\.\"?(\w+)\"?(\()?(?:\s+AS)?\s*(\w+)?")
_BINDING = re.compile(r"(?<!MATERIALIZED )" + re.escape(BIND_TENANT).replace(r"\$1", r"\$\d+"))
_INSERTED = re.compile(r"INSERT INTO convostore\.\"?(\w+)\"?")
_CONFLICT = re.compile(r"ON CONFLICT \(\"?tenant_id\"?[,)]")
_SET_OPERATION = re.compile(r"\bUNION(?: ALL)?\b|\bEXCEPT\b")


def blocks(statement: str) -> Iterator[str]:
    """Yield the text of every query block; what binds is `<bound>` in it, and other parentheses are emptied."""
    text = _BINDING.sub("<bound>", statement)
    text = re.sub(r"\(TABLE (\w+)\)", r"<\1>", text)
    levels = [""]
    for character in text:
        if character == "(":
            levels[-1] += "("
            levels.append("")
        elif character == ")":
            yield from _SET_OPERATION.split(levels.pop())
            levels[-1] += ")"
        else:
            levels[-1] += character
    (top,) = levels
    yield from _SET_OPERATION.split(top)


def tables(block: str) -> list[tuple[str, str]]:
    """Return the tables that a query block reads, updates or deletes from, with their aliases."""
    return [(table, alias) for table, function, alias in _REFERENCE.findall(block) if not function]


def unnamed(statement: str, tenant: str = "$1") -> list[str]:
    """Return the tables that are referred to without a condition on the tenant in the same block."""
    found = [
        table
        for block in blocks(statement)
        for table, alias in tables(block)
        if not re.search(rf"\b{alias}\.tenant_id = {re.escape(tenant)}(?!\d)", block)
    ]
    # What is inserted carries its tenant, and must not replace a row of another.
    if len(_CONFLICT.findall(statement)) != statement.count("ON CONFLICT"):
        found += _INSERTED.findall(statement)
    return found


def unbound(statement: str) -> list[str]:
    """Return the tables and functions that are referred to in a block that does not bind the tenant."""
    return [
        table
        for block in blocks(statement)
        if "<bound>" not in block
        for table in [*(name for name, *_ in _REFERENCE.findall(block)), *_INSERTED.findall(block)]
    ]
