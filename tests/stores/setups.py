"""Wrong set-ups of servers: the URLs, and the exact words of `open_stores` and of `convostore doctor`.

Names in braces stand for what tests/stores/test_wrong_setups.py starts: ports of servers, and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convostore.call.translation import UNANSWERED
from convostore.errors import ConnectionError, StoreError, ValidationError
from convostore.redis.errors import CLOSED

SECRET = "hunter2"


@dataclass(frozen=True)
class Wrong:
    """A wrong set-up, and what is said about it.

    Attributes:
        said: by `open_stores`: the message of its error, or what it logs of a hot tier that cannot be used.
        doctor: the first line that is not well.
        postgres, redis: the URLs; None for one that is not set.
        error: the class; None of a hot tier.
        retryable: whether it may be tried again as it is.
        patience: the deadline, in seconds.
    """

    said: str
    doctor: str
    postgres: str | None = "postgresql://postgres@127.0.0.1:{postgres}/convostore"
    redis: str | None = "redis://127.0.0.1:{valkey}"
    error: type[StoreError] | None = ConnectionError
    retryable: bool = False
    patience: float = 60.0


def user(name: str, said: str, subject: str = "PostgreSQL", **more: bool) -> Wrong:
    """Return a set-up with a user of PostgreSQL."""
    url = f"postgresql://{name}@127.0.0.1:{{postgres}}/convostore"
    return Wrong(said, f"✗ {subject}: {said}", url, **more)  # type: ignore[arg-type]


def database(name: str, said: str, doctor: str, error: type[StoreError], login: str = "postgres") -> Wrong:
    """Return a set-up with a database of its own."""
    return Wrong(said, f"✗ {doctor}", f"postgresql://{login}@127.0.0.1:{{postgres}}/{name}", error=error)


def connecting(url: str, said: str, error: type[StoreError] = ConnectionError, *, retryable: bool = False) -> Wrong:
    """Return a set-up in which PostgreSQL is not reached."""
    return Wrong(said, f"✗ PostgreSQL: {said}", url, error=error, retryable=retryable)


def malformed(postgres: str, said: str) -> Wrong:
    """Return a set-up whose URL is refused before anything is asked."""
    return Wrong(said, f"convostore: {said}", postgres, error=ValidationError)


def hot(url: str, said: str, subject: str = "Redis or Valkey", patience: float = 60.0) -> Wrong:
    """Return a set-up with a hot tier that cannot be used."""
    return Wrong(said, f"✗ {subject}: {said}", redis=url, error=None, patience=patience)


PASSWORD = "PostgreSQL refused the user or the password; correct them in the URL."
USER = (
    "PostgreSQL refused the user: it does not exist, may not log in, or pg_hba.conf has no line that lets it in, with "
    "TLS or without."
)
FULL = "PostgreSQL has no connection left; lower pool_size or raise max_connections."
RIGHTS = (
    "postgres_url: its user may neither use nor migrate the schema; GRANT convostore_app TO it, or let an "
    "administrator run convostore migrate, or what convostore migrate roles prints"
)
BASE = "schema: at base, this release works with {head}; run: convostore migrate"
READ_ONLY = "Transactions are read-only; ALTER ROLE the user, or DATABASE, SET default_transaction_read_only = off."
NEWER = (
    "postgres_url: the schema is at 9001, which takes a release that knows 9001; this one knows it up to {head}: "
    "upgrade convostore"
)
PGVECTOR = (
    "pgvector 0.8.1 is too old (CVE-2026-3172, and VACUUM damages HNSW indexes); install 0.8.4 or newer on the server, "
    "and run: ALTER EXTENSION vector UPDATE"
)
NO_PGVECTOR = "The server has no pgvector; install 0.8.4 or newer on it, and run: convostore migrate"
HIDDEN = 'pool: its role may not use pgvector; run: GRANT USAGE ON SCHEMA "extensions" TO PUBLIC'
PRIVILEGE = "The role lacks a privilege; GRANT convostore_app TO the user of the URL, or run convostore migrate."
CTYPE = "pool: LC_CTYPE of the database is C; create one with a UTF-8 locale such as C.UTF-8"
LATIN = "The database is encoded as LATIN1; create one with ENCODING 'UTF8'"
TOO_OLD = "PostgreSQL 15.{minor} is too old (its branch is not supported); upgrade the server to 16.14 or newer"
UNTRUSTED = "PostgreSQL's certificate is not trusted; name its authority with ?sslrootcert=."
SECURE = "postgresql://postgres@localhost:{postgres15}/postgres?sslmode="

POSTGRES: dict[str, Wrong] = {
    "a wrong password": user(f"locked:wrong-{SECRET}", PASSWORD),
    "no password": user("locked", PASSWORD),
    "a user that pg_hba.conf rejects": user("rejected", USER),
    "a user that may not log in": user("nologin", USER),
    "a user that does not exist": user("nobody", USER),
    "a user at its limit of connections": user("lonely", FULL, retryable=True),
    "a user whose transactions are read-only": user("reader", READ_ONLY, "application role"),
    "a user without the role of the application": Wrong(
        RIGHTS, f"✗ schema: {RIGHTS}", "postgresql://stranger@127.0.0.1:{postgres}/convostore", error=ValidationError
    ),
    "a user who may not migrate an empty database": database("empty", RIGHTS, BASE, ValidationError, "stranger"),
    "an owner for whom no administrator has prepared roles": database(
        "owned", RIGHTS, BASE, ValidationError, "landlord"
    ),
    "a user who may not connect to the database": connecting(
        "postgresql://reader@127.0.0.1:{postgres}/barred",
        "The user may not connect to the database, or not as convostore_app; GRANT CONNECT ON DATABASE, or that role.",
    ),
    "a database that does not exist": connecting(
        "postgresql://postgres@127.0.0.1:{postgres}/nowhere",
        "The database does not exist; create it, or correct its name in the URL.",
    ),
    "a database that accepts no connections": connecting(
        "postgresql://postgres@127.0.0.1:{postgres}/unconnectable",
        "The database accepts no connections; ALTER DATABASE it WITH ALLOW_CONNECTIONS true.",
    ),
    "a database at its limit of connections": connecting(
        "postgresql://reader@127.0.0.1:{postgres}/crowded", FULL, retryable=True
    ),
    "a server at max_connections": connecting("postgresql://postgres@127.0.0.1:{full}/postgres", FULL, retryable=True),
    "a schema of a newer release": database("newer", NEWER, f"schema: {NEWER}", ValidationError),
    "a role that lost the schema": database("revoked", PRIVILEGE, f"application role: {PRIVILEGE}", StoreError),
    "a database that is not in UTF-8": database("latin", LATIN, f"encoding: {LATIN}", ValidationError),
    "a database that folds ASCII alone": database("ascii", CTYPE, f"application role: {CTYPE}", ValidationError),
    "no pgvector": database("vectorless", NO_PGVECTOR, f"pgvector: {NO_PGVECTOR}", ValidationError),
    "a pgvector that is too old": database("outdated", PGVECTOR, f"pgvector: {PGVECTOR}", ValidationError),
    "pgvector in a schema that nobody may use": database(
        "hidden", HIDDEN, f"application role: {HIDDEN}", ValidationError
    ),
    "PostgreSQL 15": connecting(f"{SECURE}verify-full&sslrootcert={{ca}}", TOO_OLD, ValidationError),
    "a host that is unknown": connecting("postgresql://app@nowhere.invalid/x", "The host of the URL is unknown."),
    "a port where nothing listens": connecting(
        "postgresql://app@127.0.0.1:{nothing}/x", "Nothing listens at the host and port of the URL.", retryable=True
    ),
    "a server that does not answer": connecting(
        "postgresql://app@127.0.0.1:{silent}/x?connect_timeout=1", UNANSWERED, retryable=True
    ),
    "the port of Redis for PostgreSQL": connecting(
        "postgresql://app@127.0.0.1:{valkey}/x?connect_timeout=1", UNANSWERED, retryable=True
    ),
    "a socket that is not there": connecting(
        "postgresql://app@/x?host=/nowhere",
        "There is no socket at the path of the URL; is PostgreSQL running?",
        retryable=True,
    ),
    "a primary that is asked for as a standby": connecting(
        "postgresql://postgres@127.0.0.1:{postgres}/convostore?target_session_attrs=standby",
        "No server of the URL is what its target_session_attrs asks for.",
        retryable=True,
    ),
    "sslmode=require without TLS at the server": connecting(
        "postgresql://postgres@127.0.0.1:{postgres}/convostore?sslmode=require",
        "PostgreSQL does not offer TLS; enable it there, or use ?sslmode=disable.",
    ),
    "sslmode=disable at a server that demands TLS": connecting(f"{SECURE}disable", USER),
    "a certificate of an unknown authority": connecting(f"{SECURE}verify-full&sslrootcert={{other}}", UNTRUSTED),
    "a certificate for another host": connecting(
        f"{SECURE}verify-full&sslrootcert={{ca}}".replace("localhost", "127.0.0.1"),
        "PostgreSQL's certificate is for another host; name the one that it is for, or use ?sslmode=verify-ca.",
    ),
    "an authority's file that is not there": malformed(
        f"{SECURE}verify-full&sslrootcert=/nowhere/ca.pem",
        "postgres_url: cannot read sslrootcert=/nowhere/ca.pem: No such file or directory",
    ),
    "an authority's file without a certificate": malformed(
        f"{SECURE}verify-full&sslrootcert={{key}}", "postgres_url: cannot read sslrootcert={key}: not in PEM format"
    ),
    "an option that PostgreSQL does not know": connecting(
        "postgresql://postgres@127.0.0.1:{postgres}/convostore?colour=blue",
        "The URL has an option that PostgreSQL does not know; correct its name.",
        ValidationError,
    ),
    "an option with a value that it refuses": connecting(
        "postgresql://postgres@127.0.0.1:{postgres}/convostore?statement_timeout=soon",
        "PostgreSQL refused the value of an option of the URL; correct it.",
        ValidationError,
    ),
    "an option that asyncpg lacks": malformed(
        "postgresql://postgres@127.0.0.1:{postgres}/convostore?channel_binding=require",
        "postgres_url: asyncpg does not support channel_binding=require",
    ),
    "a password that is not percent-encoded": malformed(
        f"postgresql://app:{SECRET}#x@127.0.0.1/x",
        "postgres_url: must not contain #; percent-encode what stands in user and password, such as %40 for @, %23 for "
        "# and %2F for /",
    ),
    "a URL of another database": malformed(
        "mysql://app@127.0.0.1/x", "postgres_url: must start with postgresql:// or postgres://"
    ),
}

WRONG_PASSWORD = "The server refused the user or the password; correct them in the URL."
NUMBER = "The server has no such database; correct its number in the URL, on a cluster leave it out."
COMMAND = "The user lacks a permission for a command; grant those of docs/howto/clusters.md with ACL SETUSER."
KEYS = "The user may not touch the keys of convostore; run: ACL SETUSER <user> ~convostore:*"
REPLICA = (
    "The server is a read-only replica; name the primary in the URL, or use redis+sentinel:// or redis+cluster://."
)
CLUSTER = "The server is part of a cluster: its URL begins with redis+cluster://."
OWN_AUTHORITY = "The server's certificate is not trusted; name its authority with ?ssl_ca_certs=."
ANOTHER_HOST = "The server's certificate is for another host; name the one that it is for in the URL."
FORMS = (
    "redis_url: must be redis://, rediss:// or unix://; redis+cluster://host:port,host:port; or "
    "redis+sentinel://host:port,host:port/service, with options that redis-py knows"
)
NO_FILE = "redis_url: cannot read ssl_ca_certs=/nowhere/ca.pem: No such file or directory"


def refused(url: str, said: str) -> Wrong:
    """Return a set-up whose Redis URL is refused."""
    return Wrong(said, f"✗ Redis or Valkey: {said}", redis=url, error=ValidationError)


HOT: dict[str, Wrong] = {
    "no password, Redis": hot("redis://127.0.0.1:{locked}", "The server asks for a password; give it in the URL."),
    "a wrong password, Redis": hot(f"redis://:wrong-{SECRET}@127.0.0.1:{{locked}}", WRONG_PASSWORD),
    "a user that does not exist, Redis": hot(f"redis://nobody:{SECRET}@127.0.0.1:{{redis7}}", WRONG_PASSWORD),
    "a password where there is none": hot(
        f"redis://:{SECRET}@127.0.0.1:{{valkey}}",
        "The server has no password, and one is given; leave it out of the URL.",
    ),
    "an ACL without our keys": hot(f"redis://nokeys:{SECRET}@127.0.0.1:{{valkey}}", KEYS, "hot copies"),
    "an ACL without scripts": hot(f"redis://noscripts:{SECRET}@127.0.0.1:{{valkey}}", COMMAND, "hot copies"),
    "an ACL without a command of scripts": hot(f"redis://noset:{SECRET}@127.0.0.1:{{valkey}}", COMMAND, "hot copies"),
    "an ACL without INFO": hot(f"redis://noinfo:{SECRET}@127.0.0.1:{{valkey}}", COMMAND, "hot copies"),
    "an ACL of Redis 7.0 without our keys": hot(f"redis://nokeys:{SECRET}@127.0.0.1:{{redis7}}", KEYS, "hot copies"),
    "an ACL of Redis 7.0 without a command": hot(f"redis://noset:{SECRET}@127.0.0.1:{{redis7}}", COMMAND, "hot copies"),
    "a database number that is too high": hot("redis://127.0.0.1:{valkey}/99", NUMBER),
    "a database number on a cluster": hot("redis://127.0.0.1:{cluster}/1", NUMBER),
    "a replica": hot("redis://127.0.0.1:{replica}", REPLICA, "hot copies"),
    "a cluster as a single server": hot("redis://127.0.0.1:{cluster}", CLUSTER, "hot copies"),
    "a single server as a cluster": hot(
        "redis+cluster://127.0.0.1:{valkey}", "The server is no cluster; its URL begins with redis://."
    ),
    "rediss:// at a port without TLS": hot("rediss://127.0.0.1:{valkey}", UNANSWERED, patience=1.0),
    "redis:// at a port with TLS": hot("redis://127.0.0.1:{redis7_tls}", CLOSED),
    "a certificate of an unknown authority, Redis": hot("rediss://localhost:{redis7_tls}", OWN_AUTHORITY),
    "a certificate of another authority, Redis": hot(
        "rediss://localhost:{redis7_tls}?ssl_ca_certs={other}", OWN_AUTHORITY
    ),
    "a certificate for another host, Redis": hot("rediss://127.0.0.1:{redis7_tls}?ssl_ca_certs={ca}", ANOTHER_HOST),
    "a port where nothing listens, Redis": hot(
        "redis://127.0.0.1:{nothing}", "Nothing listens at the host and port of the Redis URL."
    ),
    "a server that does not answer, Redis": hot("redis://127.0.0.1:{silent}", UNANSWERED, patience=1.0),
    "a host that is unknown, Redis": hot("redis://nowhere.invalid", "The host of the Redis URL is unknown."),
    "a socket that is not there, Redis": hot(
        "unix:///nowhere", "There is no socket at the path of the Redis URL; is the server running?"
    ),
    "the port of PostgreSQL for Redis": hot("redis://127.0.0.1:{postgres}", CLOSED),
    "a server at maxmemory": hot(
        "redis://127.0.0.1:{no_memory}",
        "The server is out of memory; raise maxmemory, or delete or sweep sessions.",
        "hot copies",
    ),
    "an authority's file that is not there, Redis": refused(
        "rediss://localhost:{redis7_tls}?ssl_ca_certs=/nowhere/ca.pem", NO_FILE
    ),
    "an option that redis-py does not know": refused("redis://127.0.0.1:{valkey}?colour=blue", FORMS),
    "a database that is no number": refused("redis://127.0.0.1:{valkey}/x", FORMS),
}

MISSING = "redis_url: is not set, and embedded=False allows no embedded server instead"
WRONG = {
    **POSTGRES,
    **HOT,
    "one server given and not the other": Wrong(MISSING, f"convostore: {MISSING}", redis=None, error=ValidationError),
}


def page(table: Mapping[str, Wrong]) -> str:
    """Return the rows of docs/reference/set-ups.md."""
    names = {"head": "0017", "minor": "18", "key": "/etc/ssl/server.key"}
    rows = [(name, wrong.said, wrong.doctor) for name, wrong in table.items()]
    return "\n".join(f"| {name} | {said.format(**names)} | {line.format(**names)} |" for name, said, line in rows)
