"""Rows that are changed behind the stores' back."""

from __future__ import annotations

from typing import Any

from convostore.domain.declaration import Declaration
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
)
from tests.postgres.conftest import Pool


def stores_on(pool: Pool, *, sessions_by_tenant: bool = False) -> dict[str, Any]:
    """Return the five stores."""
    return {
        "config": PostgresConfigStore(pool),
        "memory": PostgresMemoryStore(pool),
        "sessions": PostgresSessionStore(pool, sessions_by_tenant=sessions_by_tenant),
        "profiles": PostgresProfileStore(pool),
        "audit": PostgresAuditStore(pool),
    }


async def rewrite(admin: Any, declaration: Declaration[Any], item: Any, columns: dict[str, Any]) -> None:
    """Change columns of the row of an item behind the store's back."""
    values = ", ".join(f'"{name}" = ${number}' for number, name in enumerate(columns, 2))
    key = declaration.key[0]
    done = await admin.execute(
        f"UPDATE convostore.{declaration.name} SET {values} WHERE {key} = $1", getattr(item, key), *columns.values()
    )
    assert done == "UPDATE 1"
