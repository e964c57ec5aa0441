"""Migrations as SQL to hand over: to whoever may run them, or to read before they are run."""

from __future__ import annotations

from importlib.resources import files

from convostore.errors import ValidationError
from convostore.postgres.migrations.propagation import propagation
from convostore.postgres.migrations.scripts import LOCK_TIMEOUT, Migration, load, statements

_VERSION_TABLE = """CREATE TABLE IF NOT EXISTS convostore.alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)"""


def bootstrap() -> tuple[str, ...]:
    """Return the statements that make roles, extension and schema."""
    return statements(files(__package__).joinpath("bootstrap.sql").read_text("utf-8"))


def roles_sql(login: str) -> str:
    """Return what an administrator runs in the database, so that a login without privileges on roles can migrate it.

    Args:
        login: the user that migrates, and may run the application as well.

    Raises:
        ValidationError: that is no name.
    """
    if not (login and login.isprintable()):
        raise ValidationError("login: must be the name of a user")
    name = _literal(login)
    made = [
        "BEGIN",
        *(
            text.replace("pg_has_role(name,", f"pg_has_role({name}, name,").replace(
                "TO CURRENT_USER', name)", f"TO %I', name, {name})"
            )
            for text in bootstrap()
        ),
        f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', current_database(), {name}); END $$",
        "COMMIT",
    ]
    return ";\n\n".join(made) + ";\n"


def migration_sql(start: str, target: str) -> str:
    """Return the statements that lead from one version to another, each migration in a transaction of its own.

    Args:
        start: the version that is there, `"base"` for none.
        target: the version to lead to.

    Raises:
        ValidationError: a version is unknown.
    """
    migrations = load()
    known = ["base", *(migration.version for migration in migrations)]
    for name, version in (("from", start), ("to", target)):
        if version not in known:
            raise ValidationError(f"{name}: must be one of {', '.join(known)}")
    first, last = known.index(start), known.index(target)
    before = [None, *migrations]
    steps = [
        _up(migration, previous) for migration, previous in zip(migrations[first:last], before[first:], strict=False)
    ]
    steps += [_down(migrations[number], before[number]) for number in reversed(range(last, first))]
    return "\n".join(steps)


def _up(migration: Migration, previous: Migration | None) -> str:
    made = [*migration.up]
    if previous is None:
        made = [_VERSION_TABLE, *made, "INSERT INTO convostore.alembic_version VALUES ('')"]
    return _transaction(f"{migration.version}: {migration.title}", [*made, *_reached(migration)])


def _down(migration: Migration, previous: Migration | None) -> str:
    return _transaction(f"Undo {migration.version}: {migration.title}", [*migration.down, *_reached(previous)])


def _reached(migration: Migration | None) -> list[str]:
    if migration is None:
        return ["DELETE FROM convostore.alembic_version"]
    version, compatible = _literal(migration.version), _literal(migration.compatible)
    return [f"UPDATE convostore.alembic_version SET (version_num, compatible) = ({version}, {compatible})"]  # noqa: S608


def _transaction(title: str, made: list[str]) -> str:
    begin = [
        "BEGIN",
        propagation(),
        "SET LOCAL ROLE convostore_owner",
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'",
        _SEARCH_PATH,
    ]
    return f"-- {title}\n" + ";\n\n".join([*begin, *made, "COMMIT"]) + ";\n"


_SEARCH_PATH = """SELECT set_config('search_path', quote_ident(n.nspname), true)
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
