"""Named queries: every statement that does not follow from a declaration, from `sql/*.sql`.

A file holds queries as `-- name: …`, a comment of one line that says what it does, and the statement. In it,
`{{columns of model}}` stands for the select list of an entity, and `{{bind_tenant}}`, `{{bound}}` and
`{{bound to holder}}` for what `tenancy` binds a statement with.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from convostore.domain.declarations import DECLARATIONS
from convostore.postgres.mapping import RowMapping, quoted
from convostore.postgres.tenancy import BIND_TENANT, BOUND, BOUND_TO_HOLDER


@cache
def queries(name: str) -> dict[str, str]:
    """Return the queries of one file by name."""
    text = files("convostore.postgres").joinpath("sql", f"{name}.sql").read_text("utf-8")
    found = {}
    for part in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        query, _, rest = part.partition("\n")
        found[query.strip()] = _expanded(rest.partition("\n")[2].strip())
    return found


def _expanded(statement: str) -> str:
    for name, text in (("bind_tenant", BIND_TENANT), ("bound", BOUND), ("bound to holder", BOUND_TO_HOLDER)):
        statement = statement.replace(f"{{{{{name}}}}}", text)
    for declaration in DECLARATIONS:
        columns = RowMapping(declaration.name, declaration.model).columns
        listed = ", ".join(f"t.{quoted(column)}" for column in columns)
        statement = statement.replace(f"{{{{columns of {declaration.name}}}}}", listed)
    return statement
