"""Alembic's environment: runs the migrations on the connection that `migrate` gives it, in one transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="convostore",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
