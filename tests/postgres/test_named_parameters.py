"""Named parameters: what is one, how they are numbered, and how a query takes its values."""

from __future__ import annotations

from inspect import signature

import pytest

from convostore.postgres.queries import compiled, queries


@pytest.mark.parametrize(
    ("statement", "sql", "parameters"),
    [
        ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ("b", "a")),
        ("SELECT :a::uuid, :a ::text[]", "SELECT $1::uuid, $1 ::text[]", ("a",)),
        ("SELECT '{}'::jsonb -> -1", "SELECT '{}'::jsonb -> -1", ()),
        ("SELECT ':a', 'it''s :a', :b", "SELECT ':a', 'it''s :a', $1", ("b",)),
        ('SELECT t.":a" FROM t WHERE x = :b', 'SELECT t.":a" FROM t WHERE x = $1', ("b",)),
        ("SELECT $$:a$$, $x$ :a $$ $x$, :b", "SELECT $$:a$$, $x$ :a $$ $x$, $1", ("b",)),
        ("-- of :a\nSELECT :b /* or\n:a */", "-- of :a\nSELECT $1 /* or\n:a */", ("b",)),
        ("SELECT (x)[1:2], f(:a_1,:a_2)", "SELECT (x)[1:2], f($1,$2)", ("a_1", "a_2")),
    ],
)
def test_parameters_are_numbered_in_the_order_of_their_first_use(
    statement: str, sql: str, parameters: tuple[str, ...]
) -> None:
    assert compiled(statement) == (sql, parameters)


def test_a_query_takes_its_values_by_name_and_gives_them_in_the_order_of_the_numbers() -> None:
    query = queries("memory").delete_by_group
    assert query(group_id=2, tenant_id=1) == (query.sql, 1, 2)
    assert [*signature(query).parameters] == ["tenant_id", "group_id"]


@pytest.mark.parametrize("values", [{"tenant_id": 1}, {"tenant_id": 1, "group_id": 2, "group": 3}, {}])
def test_a_missing_or_unknown_parameter_is_a_type_error_that_names_the_query_and_the_parameter(
    values: dict[str, int],
) -> None:
    with pytest.raises(TypeError, match=r"memory\.delete_by_group\(\) .*'group"):
        queries("memory").delete_by_group(**values)


def test_a_value_without_a_name_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="positional"):
        queries("memory").delete_by_group(1, 2)
