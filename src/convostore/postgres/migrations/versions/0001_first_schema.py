"""The first schema: one table per entity, the profile tables, row-level security, an audit trail that only grows."""

from __future__ import annotations

from convostore.postgres.migrations.statements import run

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    run("0001_first_schema.sql")


def downgrade() -> None:
    """Drop everything, data included."""
    run("0001_first_schema_down.sql")
