"""Named queries: every statement that does not follow from a declaration, from `sql/*.sql`.

A file holds queries as `-- name: …`, a comment of one line that says what it does, and the statement. In it, `:name` is
a parameter, and what a declaration or `tenancy` says stands in double braces:

- `{{columns of rule}}`, `{{order of rule}}` and `{{default filters of rule}}`, each on the alias `t`;
- `{{each owned by agent}}` … `{{end}}`: the lines between for each declaration with that owner, called `each` in them;
  likewise `{{each soft-deleted}}`, and `{{each declared}}` for all;
- `{{profile}}` and `{{past items}}`: what is selected of a customer profile (see `profile_columns`);
- `{{version}}`: a number that every write of the row `t` changes;
- `{{bind_tenant}}` and `{{bound}}`: what binds the statement to the tenant that is given;
- `{{bound to holder}}`: what binds it to `(TABLE holder)`, the tenant that holds a session. `<name>_of_tenant` is the
  same query for a tenant that is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import DECLARATIONS
from convostore.postgres import profile_columns
from convostore.postgres.mapping import quoted
from convostore.postgres.statements import ordering
from convostore.postgres.tenancy import MACROS, of_tenant

_TOKEN = re.compile(
    r"""
    '(?:[^']|'')*' | "[^"]*" | \$(\w*)\$ .*? \$\1\$  # strings and quoted names
    | --[^\n]* | /\* .*? \*/                         # comments
    | ::                                             # a cast
    | :(?P<parameter>[a-z]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)

_EACH = re.compile(
    r"^\{\{each (?:owned by (?P<owner>\w+)|(?P<all>declared)|soft-deleted)\}\}\n(?P<text>.*?)\n\{\{end\}\}",
    re.MULTILINE | re.DOTALL,
)
_MACRO = re.compile(r"\{\{([^{}]+)\}\}")

_VERSION = "uuid_hash_extended(t.id, uuid_hash_extended(coalesce(t.write_id, t.id), t.xmin::text::bigint))"
"""Every write of the stores gives a row another write id, and every write at all another xmin."""


@cache
def queries(file: str) -> SimpleNamespace:
    """Return the queries of one file, by name.

    Each is a function that takes the statement's parameters by keyword and returns the statement and its arguments, as
    the methods of `Database` take them; a parameter that is missing or unknown is a TypeError. Its `sql` is the
    statement.
    """
    text = files("convostore.postgres").joinpath("sql", f"{file}.sql").read_text("utf-8")
    found = SimpleNamespace()
    for part in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("\n")
        statement = rest.partition("\n")[2].strip()
        setattr(found, name, _query(f"{file}.{name}", _expanded(statement)))
        if (given := of_tenant(statement)) != statement:
            setattr(found, f"{name}_of_tenant", _query(f"{file}.{name}_of_tenant", _expanded(given)))
    return found


def compiled(statement: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement with `$1`, `$2` … for its named parameters, and their names in the order of the numbers."""
    numbers: dict[str, str] = {}

    def number(token: re.Match[str]) -> str:
        name = token["parameter"]
        return numbers.setdefault(name, f"${len(numbers) + 1}") if name else token[0]

    return _TOKEN.sub(number, statement), tuple(numbers)


def _query(name: str, statement: str) -> Callable[..., tuple[Any, ...]]:
    sql, parameters = compiled(statement)
    listed = ", ".join(parameters)
    # As namedtuple makes its constructor: Python checks the keywords, in a fifth of the time that code of ours takes.
    query = eval(f"lambda {'*, ' * bool(parameters)}{listed}: (sql, {listed})", {"sql": sql})  # noqa: S307
    query.__qualname__ = name
    query.sql = sql
    return query  # type: ignore[no-any-return]


def _expanded(statement: str) -> str:
    statement = _EACH.sub(_repeated, statement)
    macros = MACROS | profile_columns.MACROS | {"version": _VERSION}
    for declaration in DECLARATIONS:
        macros |= _macros(declaration)
    return _MACRO.sub(lambda found: macros[found[1]], statement)


def _repeated(found: re.Match[str]) -> str:
    """Return the lines between `each` and `end` for every declaration that they are for."""
    owner = found["owner"]
    each = (
        declaration.name
        for declaration in DECLARATIONS
        if (declaration.owner and declaration.owner.name == owner if owner else declaration.soft_delete or found["all"])
    )
    return ",\n".join(re.sub(r"\{\{each\}\}|(?<= of )each(?=\}\})", name, found["text"]) for name in each)


def _macros(declaration: Declaration[Any]) -> dict[str, str]:
    """Return what stands in double braces for a declaration."""
    columns = ", ".join(f"t.{quoted(column)}" for column in declaration.columns)
    filters = [f"t.{quoted(column)} = '{value}'" for column, value in declaration.only.items()]
    return {
        f"columns of {declaration.name}": columns,
        f"order of {declaration.name}": ordering(declaration),
        f"default filters of {declaration.name}": " AND ".join(filters) or "true",
    }
