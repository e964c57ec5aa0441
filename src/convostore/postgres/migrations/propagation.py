"""What of a migration reaches the nodes of Citus, and what a migration may not do where tables are distributed."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from convostore.errors import ValidationError
from convostore.postgres.migrations.scripts import statements

BEFORE_DISTRIBUTION = "0014"
"""Up to this version migrations run before anything is distributed, as no release before 0016 distributes, and do what
Citus refuses, in both directions: SET ROLE, DROP INDEX of several. What is distributed stays above it."""

SUPERUSER = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"


def propagation() -> str:
    """Return the statement with which a migration's transaction begins: whether its DDL reaches the nodes."""
    (statement,) = statements(files(__package__).joinpath("propagation.sql").read_text("utf-8"))
    return statement


async def is_distributed(connection: Any) -> bool:
    """Return whether DDL would reach the nodes, as some tables are distributed."""
    async with connection.transaction():
        await connection.execute(propagation())
        found: bool = await connection.fetchval("SELECT current_setting('citus.enable_ddl_propagation')::boolean")
    return found


async def check_distributed(connection: Any, target: str) -> None:
    """Refuse to lead distributed tables to a version that they cannot have, or by a user who cannot complete it.

    Raises:
        ValidationError: so it is.
    """
    if target == "base" or target <= BEFORE_DISTRIBUTION:
        raise ValidationError(f"revision: tables are distributed; the schema stays above {BEFORE_DISTRIBUTION}")
    if not await connection.fetchval(SUPERUSER):
        raise ValidationError("postgres_url: tables are distributed; let a superuser run: convostore migrate --citus")
