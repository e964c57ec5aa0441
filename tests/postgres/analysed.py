"""What Citus refuses of a statement, by the tree that PostgreSQL makes of it and the volatility of its functions.

`debug_print_parse` sends this tree, in which every operator and cast is a function. The rules are those of Citus:
planner/multi_router_planner.c (`ModifyPartialQuerySupported`, `ErrorIfOnConflictNotSupported`,
`MasterIrreducibleExpression`), planner/insert_select_planner.c, executor/insert_select_executor.c.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

Tree: TypeAlias = Any
"""A node is a dictionary with its kind at "", a list a list, all else a string."""

UPDATE, INSERT, DELETE = "2", "3", "4"
_SAME = "2972"
"""The operator `=` of uuids."""

_TOKEN = re.compile(r'[{}()\[\]]|"(?:\\.|[^"\\])*"|(?:\\.|[^\s{}()\[\]\\])+', re.DOTALL)
_PARAMETER = re.compile(r"(\$\d+)::(?:vector|halfvec)(?:\[\])?")


def read(text: str) -> Tree:
    """Return the tree that PostgreSQL has printed."""
    tokens = iter(_TOKEN.findall(text))
    return _value(next(tokens), tokens)


def _value(token: str, tokens: Iterator[str]) -> Tree:
    if token in "([":
        closing = ")" if token == "(" else "]"
        return [_value(each, tokens) for each in iter(lambda: next(tokens), closing)]
    if token != "{":
        return token
    node: Tree = {"": next(tokens)}
    field = ""
    for each in iter(lambda: next(tokens), "}"):
        if each.startswith(":"):
            field = each[1:]
        else:
            node[field] = _value(each, tokens)
    return node


def below(tree: Tree, *, within: bool = True) -> Iterator[Tree]:
    """Yield the nodes of a tree, itself first; without those of subqueries if not `within`."""
    if isinstance(tree, list):
        for each in tree:
            yield from below(each, within=within)
    elif isinstance(tree, dict):
        yield tree
        if within or tree[""] != "QUERY":
            for each in tree.values():
                yield from below(each, within=within)


@dataclass(frozen=True)
class Catalogue:
    """What a database says of functions.

    Attributes:
        volatility: of each function: `i`, `s` or `v`.
        behind: the function of each operator.
        conversions: the input and the output function of each type.
        distributed: the tables that are distributed.
    """

    volatility: dict[str, str]
    behind: dict[str, str]
    conversions: dict[str, tuple[str, str]]
    distributed: set[str]

    @classmethod
    async def of(cls, connection: Any, tables: list[str]) -> Catalogue:
        """Read that of a connection's database."""
        procedures = await connection.fetch("SELECT oid::text, provolatile::text FROM pg_proc")
        operators = await connection.fetch("SELECT oid::text, oprcode::oid::text FROM pg_operator")
        types = await connection.fetch("SELECT oid::text, typinput::oid::text, typoutput::oid::text FROM pg_type")
        relations = await connection.fetch(
            "SELECT ('convostore.' || t.t)::regclass::oid::text FROM unnest($1::text[]) AS t (t)", tables
        )
        return cls(
            dict(map(tuple, procedures)),
            dict(map(tuple, operators)),
            {oid: (given, taken) for oid, given, taken in types},
            {oid for (oid,) in relations},
        )

    def is_of(self, node: Tree, volatilities: str) -> bool:
        """Return whether a node itself calls a function of these volatilities."""
        kind = node[""]
        if kind in ("SQLVALUEFUNCTION", "NEXTVALUEEXPR"):
            return ("s" if kind == "SQLVALUEFUNCTION" else "v") in volatilities
        called = [
            node[name]
            for name in ("funcid", "aggfnoid", "winfnoid")
            if kind.endswith(("EXPR", "REF", "FUNC")) and name in node
        ]
        if kind in ("OPEXPR", "DISTINCTEXPR", "NULLIFEXPR", "SCALARARRAYOPEXPR"):
            called.append(self.behind[node["opno"]])
        if kind == "ROWCOMPAREEXPR":
            called += [self.behind[each] for each in node["opnos"] if each.isdigit()]
        if kind == "COERCEVIAIO":
            called.append(self.conversions[node["resulttype"]][0])
            called += [self.conversions[each][1] for each in [_type(node["arg"])] if each]
        return any(self.volatility[each] in volatilities for each in called)

    def any_of(self, tree: Tree, volatilities: str) -> bool:
        """Return whether a tree calls a function of these volatilities, also within subqueries."""
        return any(self.is_of(node, volatilities) for node in below(tree))

    def has_tables(self, tree: Tree) -> bool:
        """Return whether a tree reads distributed tables."""
        return any(node[""] == "RANGETBLENTRY" and node.get("relid") in self.distributed for node in below(tree))


def _type(node: Tree) -> str | None:
    """Return the type of an expression, where the node says so."""
    names = (
        "vartype",
        "paramtype",
        "consttype",
        "funcresulttype",
        "opresulttype",
        "resulttype",
        "coalescetype",
        "casetype",
    )
    return next((node[name] for name in names if name in node), None)


def faults(query: Tree, catalogue: Catalogue) -> Iterator[str]:
    """Yield what Citus refuses of an analysed statement."""
    for node in below(query):
        writes = node[""] == "QUERY" and node["commandType"] in (UPDATE, INSERT, DELETE)
        if writes and catalogue.has_tables(node["rtable"][:1]):
            yield from _of_write(node, catalogue)
        if node[""] == "QUERY":
            yield from _unrouted(node, catalogue)
    if query["commandType"] in (UPDATE, DELETE) and catalogue.any_of(query, "v"):
        yield "VOLATILE in UPDATE or DELETE"


def _unrouted(query: Tree, catalogue: Catalogue) -> Iterator[str]:
    """Yield the tables of a query block whose tenant is not compared there with a value."""
    conditions = [query["jointree"]["quals"]]
    conditions += [node["quals"] for node in below(query["jointree"], within=False) if node[""] == "JOINEXPR"]
    compared = {"excluded", *_tenants(conditions)}
    for number, entry in enumerate(query["rtable"] if query["rtable"] != "<>" else [], 1):
        name, own = (
            entry["eref"]["aliasname"],
            query["commandType"] == INSERT and query["resultRelation"] == str(number),
        )
        if entry.get("relid") in catalogue.distributed and not own and {name, str(number)}.isdisjoint(compared):
            yield f"{name} without its tenant"


def _tenants(conditions: Tree) -> Iterator[str]:
    """Yield the numbers of the tables whose first column, the tenant, must equal a value."""
    for each in conditions:
        if each == "<>":
            continue
        if each[""] == "BOOLEXPR" and each["boolop"] == "and":
            yield from _tenants(each["args"])
        elif (
            each[""] == "OPEXPR"
            and each["opno"] == _SAME
            and {node[""] for node in each["args"][1:]} <= {"PARAM", "CONST"}
        ):
            column = each["args"][0]
            if column[""] == "VAR" and (column["varattno"], column["varlevelsup"]) == ("1", "0"):
                yield column["varno"]


def _of_write(query: Tree, catalogue: Catalogue) -> Iterator[str]:
    conflict, returning = query["onConflict"], query["returningList"]
    if catalogue.any_of(returning, "sv"):
        yield "not IMMUTABLE in RETURNING"
    if catalogue.any_of(conflict, "sv"):
        yield "not IMMUTABLE in ON CONFLICT"
    if query["commandType"] == INSERT:
        yield from _of_insert(query, catalogue)
        return
    set_ = query["targetList"] if query["commandType"] == UPDATE else []
    for expression in (set_, query["jointree"]["quals"]):
        if catalogue.any_of(expression, "v"):
            yield "VOLATILE in SET or WHERE"
        yield from _irreducible(expression, catalogue)


def _of_insert(query: Tree, catalogue: Catalogue) -> Iterator[str]:
    sources = [each for each in query["rtable"][1:] if each.get("subquery", "<>") != "<>"]
    if not sources:
        if query["hasSubLinks"] == "true":
            yield "a subquery in INSERT … VALUES"
        if query["cteList"] != "<>":
            yield "a CTE of INSERT … VALUES"
        return
    pushed = catalogue.has_tables(sources) and not catalogue.any_of(query, "v")
    if not pushed and any(node[""] == "PARAM" for node in below([query["onConflict"], query["returningList"]])):
        yield "a parameter behind ON CONFLICT or RETURNING of an INSERT … SELECT"


def _irreducible(expression: Tree, catalogue: Catalogue) -> Iterator[str]:
    """Yield what is neither evaluated on the coordinator nor left to the shard; subqueries are left to it."""
    for node in below(expression, within=False):
        if node[""] in ("COALESCEEXPR", "CASEEXPR") and catalogue.any_of(node, "sv"):
            yield "not IMMUTABLE in CASE or COALESCE"
        if catalogue.is_of(node, "s") and any(each[""] == "VAR" for each in below(node, within=False)):
            yield "STABLE of a column in SET or WHERE"


@asynccontextmanager
async def printing(connection: Any) -> AsyncIterator[list[str]]:
    """Give a block the trees of what a connection runs in it, also within functions."""
    printed: list[str] = []

    def listen(_: Any, message: Any) -> None:
        if message.message == "parse tree:":
            printed.append(message.detail)

    await connection.execute("SET client_min_messages = log; SET debug_print_parse = on; SET debug_pretty_print = off")
    connection.add_log_listener(listen)
    try:
        yield printed
    finally:
        connection.remove_log_listener(listen)
        await connection.execute("SET debug_print_parse = off; SET client_min_messages = warning")


async def analysed(connection: Any, statement: str) -> tuple[Tree, list[str]]:
    """Return the tree of a statement, and the types of its parameters."""
    async with printing(connection) as printed:
        await connection.execute(f"PREPARE analysed AS {statement}")
    types: list[str] = await connection.fetchval(
        "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'analysed'"
    )
    await connection.execute("DEALLOCATE analysed")
    return read(printed[-1]), types


def is_evaluated(query: Tree) -> bool:
    """Return whether the coordinator sends values instead of parameters: it does for what writes."""
    return query["commandType"] in (UPDATE, INSERT, DELETE) or query["hasModifyingCTE"] == "true"


def without_casts(statement: str) -> str:
    """Return a statement as the coordinator writes it for a shard: a parameter has its type, and no cast to it.

    Of types that an extension made the shard is not told, as their numbers differ from node to node.
    """
    return _PARAMETER.sub(r"\1", statement)
