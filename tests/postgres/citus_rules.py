"""What Citus refuses of a statement, as rules on the tree that PostgreSQL's own parser makes of it.

A rule yields what breaks it. Each is an error of Citus 14 on PostgreSQL 18, with which the statement would end there,
or a statement that would leave the shard of its tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

pgparse = pytest.importorskip("pgparse", reason="the parser is locked for development only")

Node: TypeAlias = "dict[str, Any]"
Rule: TypeAlias = "Callable[[str, Node], Iterator[str]]"

VOLATILE = {"clock_timestamp", "gen_random_uuid", "random", "nextval", "timeofday"}
STABLE = {"now", "statement_timestamp", "transaction_timestamp", "current_setting"}
WRITES = {"InsertStmt", "UpdateStmt", "DeleteStmt"}

EVERYWHERE = {"audit_retention", "alembic_version"}
"""Tables that every node has."""

READS_TABLES = {
    *("session_tenant", "scored_episodes", "named_entities", "audit_body_dropped", "old_sessions", "tenants"),
    *("record_audit_item", "record_audit", "vector_spaces", "large_spaces", "text_tenants", "profiles_with_field"),
}
"""Functions of the schema that ask tables themselves."""


OTHER_ROLE = "another role: the nodes have a connection for each, which does not see what the others have not committed"
"""What is wrong with SET ROLE in a migration: 42501 for a right that it grants itself."""


def nodes(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Node, tuple[str, ...]]]:
    """Yield every node below, with its kind and the kinds above it, outermost first."""
    if isinstance(tree, list):
        for each in tree:
            yield from nodes(each, above)
    elif isinstance(tree, dict):
        for kind, node in tree.items():
            if kind[:1].isupper() and isinstance(node, dict):
                yield kind, node, above
            yield from nodes(node, (*above, kind))


def of_kind(tree: Any, *kinds: str) -> Iterator[Node]:
    """Yield the nodes of some kinds."""
    return (node for kind, node, _ in nodes(tree) if kind in kinds)


def name_of(call: Node) -> str:
    """Return the name of a function that is called, without its schema."""
    return str(call["funcname"][-1]["String"]["sval"])


def calls(tree: Any) -> list[str]:
    """Return the names of the functions that are called."""
    return [name_of(call) for call in of_kind(tree, "FuncCall")]


def tables(tree: Any) -> list[Node]:
    """Return the references to tables of the schema."""
    found = list(of_kind(tree, "RangeVar"))
    found += [node["relation"] for node in of_kind(tree, *WRITES)]
    return [table for table in found if table.get("schemaname") == "convostore"]


def _columns(expression: Node) -> list[str]:
    fields = expression.get("ColumnRef", {}).get("fields", [])
    return [field["String"]["sval"] for field in fields if "String" in field]


def one_statement(text: str, tree: Any) -> Iterator[str]:
    """Several statements in one message: 42601."""
    if len(tree) != 1:
        yield f"{len(tree)} statements"


def conflict_action(text: str, tree: Any) -> Iterator[str]:
    """ON CONFLICT DO UPDATE takes immutable functions alone, of which we need none, and no subqueries: 0A000."""
    for clause in (node["onConflictClause"] for node in of_kind(tree, "InsertStmt") if "onConflictClause" in node):
        yield from calls(clause)
        yield from ("a subquery" for _ in of_kind(clause, "SubLink"))


def inserted_tenant(text: str, tree: Any) -> Iterator[str]:
    """The tenant of an inserted row is `$1`, or that of a row that is read: a trigger on the shard binds the row's."""
    for insert in of_kind(tree, "InsertStmt"):
        columns = [each["ResTarget"]["name"] for each in insert.get("cols", [])]
        select = insert["selectStmt"]["SelectStmt"]
        if insert["relation"].get("schemaname") != "convostore" or "tenant_id" not in columns:
            continue
        place = columns.index("tenant_id")
        rows = [row["List"]["items"] for row in select.get("valuesLists", [])]
        rows += [[each["ResTarget"]["val"] for each in select["targetList"]]] if "targetList" in select else []
        sources = {table.get("alias", {}).get("aliasname") for table in tables(select.get("fromClause"))}
        for given in (row[place] for row in rows):
            if _columns(given)[1:] == ["tenant_id"] and _columns(given)[0] in sources:
                continue
            value = given.get("CoalesceExpr", {}).get("args", [given])[0]
            while "TypeCast" in value:
                value = value["TypeCast"]["arg"]
            if value.get("ParamRef", {}).get("number") != 1:
                yield "another tenant than $1"


def insert_source(text: str, tree: Any) -> Iterator[str]:
    """One row comes from VALUES without subqueries; several from a SELECT, with RETURNING, that no CTE writes for."""
    for insert in of_kind(tree, "InsertStmt"):
        if insert["relation"].get("schemaname") != "convostore":
            continue
        select = insert["selectStmt"]["SelectStmt"]
        if "valuesLists" in select:
            yield from ("VALUES with a subquery" for _ in of_kind(select["valuesLists"], "SubLink"))
            continue
        if "fromClause" not in select:
            yield "a row from SELECT"
        if "returningList" not in insert and "returningClause" not in insert:
            yield "SELECT without RETURNING"
        written = [cte for cte in of_kind(insert.get("withClause"), "CommonTableExpr") if WRITES & set(cte["ctequery"])]
        yield from (f"SELECT beside the CTE {cte['ctename']} that writes" for cte in written)


def parameters_behind(text: str, tree: Any) -> Iterator[str]:
    """An INSERT … SELECT without a table is sent without parameters, so ON CONFLICT and RETURNING have none: 42P02."""
    for insert in of_kind(tree, "InsertStmt"):
        select = insert["selectStmt"]["SelectStmt"]
        behind = [insert.get(name) for name in ("onConflictClause", "returningList", "returningClause")]
        if "valuesLists" not in select and not tables(select):
            yield from (f"${node['number']}" for node in of_kind(behind, "ParamRef"))


def insert_in_cte(text: str, tree: Any) -> Iterator[str]:
    """INSERT in a CTE becomes an intermediate result: `invalid input syntax for type uuid: "PGCOPY"`."""
    for cte in of_kind(tree, "CommonTableExpr"):
        if "InsertStmt" in cte["ctequery"]:
            yield str(cte["ctename"])


def volatile(text: str, tree: Any) -> Iterator[str]:
    """UPDATE and DELETE take no VOLATILE function: 0A000. Advisory locks are local to a node."""
    yield from (name for name in calls(tree) if name.startswith("pg_advisory"))
    for write in of_kind(tree, "UpdateStmt", "DeleteStmt"):
        yield from (name for name in calls(write) if name in VOLATILE)


def clocks(text: str, tree: Any) -> Iterator[str]:
    """In UPDATE and DELETE no STABLE function stands in CASE or COALESCE: 0A000."""
    for write in of_kind(tree, "UpdateStmt", "DeleteStmt"):
        for conditional in of_kind(write, "CaseExpr", "CoalesceExpr"):
            yield from (name for name in calls(conditional) if name in STABLE)


def returning(text: str, tree: Any) -> Iterator[str]:
    """RETURNING takes immutable functions alone, of which we need none: 0A000."""
    for write in of_kind(tree, *WRITES):
        listed = write.get("returningList", write.get("returningClause", []))
        yield from calls(listed)


def anonymous_rows(text: str, tree: Any) -> Iterator[str]:
    """A row that is selected has a type of its own: `input of anonymous composite types is not implemented`."""
    for kind, node, above in nodes(tree):
        if kind == "RowExpr" and node.get("row_format") == "COERCE_EXPLICIT_CALL" and "TypeCast" not in above[-2:]:
            yield "ROW"
        if kind == "TypeCast" and node["typeName"]["names"][-1]["String"]["sval"] == "record":
            yield "record"


def compared_subqueries(text: str, tree: Any) -> Iterator[str]:
    """A subquery that is compared has one column: `subquery must return only one column`."""
    for node in of_kind(tree, "A_Expr"):
        if "RowExpr" in node.get("lexpr", {}) and "SubLink" in node.get("rexpr", {}):
            yield "a row"


def unsupported(text: str, tree: Any) -> Iterator[str]:
    """MERGE, SEARCH and CYCLE, a write of the tenant: each is refused."""
    yield from ("MERGE" for _ in of_kind(tree, "MergeStmt"))
    for cte in of_kind(tree, "CommonTableExpr"):
        yield from (clause for clause in ("search_clause", "cycle_clause") if clause in cte)
    for update in of_kind(tree, "UpdateStmt"):
        yield from ("SET tenant_id" for each in update["targetList"] if each["ResTarget"].get("name") == "tenant_id")


def functions(text: str, tree: Any) -> Iterator[str]:
    """A function that asks tables stands beside no table: XX000 on the shard."""
    if tables(tree):
        yield from (name for name in calls(tree) if name in READS_TABLES)


def one_tenant(text: str, tree: Any) -> Iterator[str]:
    """Every table has `tenant_id = $n` in its own query block, with one n: else it is refused, or asks all shards."""
    numbers: list[set[int]] = []
    for block in of_kind(tree, "SelectStmt", "UpdateStmt", "DeleteStmt"):
        sources = [*block.get("fromClause", []), *block.get("usingClause", [])]
        named = [table for table in tables(list(_direct(sources))) if table["relname"] not in EVERYWHERE]
        if "relation" in block and block["relation"].get("schemaname") == "convostore":
            named.append(block["relation"])
        aliases = {table.get("alias", {}).get("aliasname", table["relname"]) for table in named}
        compared = list(_bound([block.get("whereClause"), *_conditions(sources)]))
        of = {alias: {number for name, number in compared if name == alias} for alias in sorted(aliases)}
        yield from (f"{alias} without its tenant" for alias, found in of.items() if not found)
        numbers += filter(None, of.values())
    if numbers and not set.intersection(*numbers):
        yield "several tenants"


def _direct(sources: list[Any]) -> Iterator[Node]:
    """Yield the tables of a FROM clause itself."""
    for source in sources:
        if "RangeVar" in source:
            yield source
        elif "JoinExpr" in source:
            yield from _direct([source["JoinExpr"]["larg"], source["JoinExpr"]["rarg"]])


def _conditions(sources: list[Any]) -> Iterator[Any]:
    for source in sources:
        if join := source.get("JoinExpr"):
            yield join.get("quals")
            yield from _conditions([join["larg"], join["rarg"]])


def _bound(conditions: list[Any]) -> Iterator[tuple[str, int]]:
    """Yield the aliases whose tenant is compared with a parameter, and its number."""
    for condition in filter(None, conditions):
        if both := condition.get("BoolExpr"):
            if both["boolop"] == "AND_EXPR":
                yield from _bound(both["args"])
        elif (equal := condition.get("A_Expr")) and equal["name"][-1]["String"]["sval"] == "=":
            column, value = _columns(equal["lexpr"]), equal["rexpr"]
            while "TypeCast" in value:
                value = value["TypeCast"]["arg"]
            if column[1:] == ["tenant_id"] and "ParamRef" in value:
                yield column[0], value["ParamRef"]["number"]


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        one_statement,
        conflict_action,
        inserted_tenant,
        insert_source,
        parameters_behind,
        insert_in_cte,
        volatile,
        clocks,
        returning,
        anonymous_rows,
        compared_subqueries,
        unsupported,
        functions,
        one_tenant,
    )
}


def broken(statement: str) -> list[str]:
    """Return what Citus would refuse of a statement."""
    tree = pgparse.parse(statement)
    return [f"{name}: {what}" for name, rule in RULES.items() for what in rule(statement, tree)]


def ddl(statement: str) -> list[str]:
    """Return what Citus would refuse of a statement of a migration, each with what it is about."""
    found: list[str] = []
    for kind, node, _ in nodes(pgparse.parse(statement)):
        if kind == "Constraint" and {node.get("fk_del_action"), node.get("fk_upd_action")} & {"n", "d"}:
            found.append("a foreign key: SET NULL or SET DEFAULT")
        if kind == "Constraint" and node.get("fk_upd_action") == "c":
            found.append("a foreign key: ON UPDATE CASCADE")
        if kind == "CreateStmt" and node["relation"].get("schemaname") == "convostore":
            found += _keys(node)
        if kind == "IndexStmt" and node.get("unique"):
            columns = [each["IndexElem"].get("name") for each in node["indexParams"]]
            if "tenant_id" not in columns:
                found.append(f"{node['idxname']}: unique without tenant_id")
        if kind == "CreatePolicyStmt" and any(of_kind(node, "SubLink")):
            found.append(f"{node['policy_name']}: a policy with a subquery")
        if kind == "AlterTableCmd" and node.get("subtype") == "AT_AddColumn":
            for column in of_kind(node, "ColumnDef"):
                kinds = [each["Constraint"]["contype"] for each in column.get("constraints", [])]
                found += [f"{column['colname']}: a CHECK of its own"] * ("CONSTR_CHECK" in kinds)
        if kind == "CreateFunctionStmt":
            found += _in_sql(node)
        if kind == "RuleStmt":
            found.append(f"{node['rulename']}: a rule")
        if kind == "DropStmt" and node["removeType"] == "OBJECT_INDEX" and len(node["objects"]) > 1:
            found.append("DROP INDEX of several")
        if kind == "VariableSetStmt" and node.get("name") in ("role", "session_authorization"):
            found.append(OTHER_ROLE)
    return found


def _keys(table: Node) -> Iterator[str]:
    name = table["relation"]["relname"]
    elements = table.get("tableElts", [])
    columns = [each["ColumnDef"]["colname"] for each in elements if "ColumnDef" in each]
    if "tenant_id" not in columns:
        return
    for each in elements:
        if column := each.get("ColumnDef"):
            kinds = [one["Constraint"]["contype"] for one in column.get("constraints", [])]
            if {"CONSTR_UNIQUE", "CONSTR_PRIMARY"} & set(kinds):
                yield f"{name}: unique without tenant_id"
            if "serial" in column["typeName"]["names"][-1]["String"]["sval"]:
                yield f"{name}: a serial column"
        constraint = each.get("Constraint", {})
        keys = [key["String"]["sval"] for key in constraint.get("keys", [])]
        if constraint.get("contype") in ("CONSTR_UNIQUE", "CONSTR_PRIMARY") and "tenant_id" not in keys:
            yield f"{name}: unique without tenant_id"


def _in_sql(function: Node) -> Iterator[str]:
    """A function in SQL over distributed tables: 0A000 `Consider using PL/pgSQL functions instead`."""
    options = {each["DefElem"]["defname"]: each["DefElem"] for each in function["options"]}
    if options.get("language", {}).get("arg", {}).get("String", {}).get("sval", "sql") != "sql":
        return
    body: Any = function.get("sql_body")
    if body is None:
        body = pgparse.parse(options["as"]["arg"]["List"]["items"][0]["String"]["sval"])
    if tables(body):
        yield f"{function['funcname'][-1]['String']['sval']}: in SQL asks tables"
