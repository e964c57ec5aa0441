"""What `open_stores` says to whoever connects it to servers in a wrong way: what is wrong, and what mends it."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from convostore import open_stores
from convostore.embedded import Embedded, open_embedded
from convostore.errors import ConnectionError, StoreError, ValidationError
from tests.cluster.nodes import free_ports
from tests.postgres.databases import connected, dsn_of
from tests.silence import silent_server

pytestmark = pytest.mark.slow

SECRET = "hunter2"

PREPARED = f"""
CREATE ROLE locked LOGIN PASSWORD '{SECRET}';
CREATE ROLE rejected LOGIN;
CREATE ROLE nologin NOLOGIN;
CREATE ROLE stranger LOGIN;
CREATE ROLE lonely LOGIN CONNECTION LIMIT 0;
CREATE ROLE reader LOGIN IN ROLE convostore_app;
ALTER ROLE reader SET default_transaction_read_only = on;
CREATE DATABASE unconnectable ALLOW_CONNECTIONS false;
CREATE DATABASE empty;
"""

HBA = "local all locked scram-sha-256\nlocal all rejected reject\n"


@dataclass(frozen=True)
class Wrong:
    """A wrong set-up, and what is said about it.

    Attributes:
        user: of the URL, with a password if there is one.
        database: of the URL.
        options: further options of the URL.
        url: the whole URL, instead.
        error: the class.
        said: the message.
        retryable: whether it may be tried again as it is.
    """

    said: str
    user: str = "postgres"
    database: str = "convostore"
    options: str = ""
    url: str | None = None
    error: type[StoreError] = ConnectionError
    retryable: bool = False


LACKS = (
    "postgres_url: its user may neither use nor migrate the schema; GRANT convostore_app TO it, or let an "
    "administrator run convostore migrate, or what convostore migrate roles prints"
)
WRONG: dict[str, Wrong] = {
    "a wrong password": Wrong(
        "PostgreSQL refused the user or the password; correct them in the URL.", user="locked:wrong-hunter2"
    ),
    "a user that is rejected": Wrong(
        "PostgreSQL refused the user: it does not exist, may not log in, or pg_hba.conf has no line that lets it in.",
        user="rejected",
    ),
    "a user that may not log in": Wrong(
        "PostgreSQL refused the user: it does not exist, may not log in, or pg_hba.conf has no line that lets it in.",
        user="nologin",
    ),
    "a user that does not exist": Wrong(
        "PostgreSQL refused the user: it does not exist, may not log in, or pg_hba.conf has no line that lets it in.",
        user="nobody",
    ),
    "a user that has no connection left": Wrong(
        "PostgreSQL has no connection left; lower pool_size or raise max_connections.", user="lonely", retryable=True
    ),
    "a user without the role of the application": Wrong(LACKS, user="stranger", error=ValidationError),
    "a user who may not migrate": Wrong(
        LACKS,
        user="stranger",
        database="empty",
        error=ValidationError,
    ),
    "a database that does not exist": Wrong(
        "The database does not exist; create it, or correct its name in the URL.", database="nowhere"
    ),
    "an unknown setting in the URL": Wrong(
        "The database lacks a part of the schema; run convostore migrate, and convostore doctor to see what.",
        options="&colour=blue",
        error=StoreError,
    ),
    "an option that asyncpg lacks": Wrong(
        "postgres_url: asyncpg does not support channel_binding=require",
        options="&channel_binding=require",
        error=ValidationError,
    ),
    "a primary that is asked for as a standby": Wrong(
        "No server of the URL is what its target_session_attrs asks for.",
        options="&target_session_attrs=standby",
        retryable=True,
    ),
    "a host that is unknown": Wrong("The host of the URL is unknown.", url="postgresql://nowhere.invalid/x"),
    "a socket that is not there": Wrong(
        "There is no socket at the path of the URL; is PostgreSQL running?",
        url="postgresql://app@/x?host=/nowhere",
        retryable=True,
    ),
    "a certificate that is not there": Wrong(
        "postgres_url: cannot read sslrootcert=/nowhere/ca.pem: No such file or directory",
        url="postgresql://app@localhost/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        error=ValidationError,
    ),
}


def put_before(file: Path, text: str) -> None:
    """Put lines at the beginning of a file."""
    file.write_text(text + file.read_text())


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Embedded]:
    """A server of the module's own, with users and databases that cannot be used."""
    async with open_embedded(ephemeral=True) as engines:
        async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url):
            pass
        async with connected(engines.postgres_dsn) as admin:
            for statement in PREPARED.strip().split("\n"):
                await admin.execute(statement)
            put_before(Path(await admin.fetchval("SHOW hba_file")), HBA)
            await admin.execute("SELECT pg_reload_conf()")
        yield engines


async def refusal(postgres_url: str, redis_url: str) -> StoreError:
    """Return how opening the stores fails."""
    try:
        async with open_stores(postgres_url=postgres_url, redis_url=redis_url, sweep_every=0):
            raise AssertionError("they are open")
    except StoreError as error:
        return error


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_postgresql_is_named_with_its_remedy(server: Embedded, name: str) -> None:
    wrong = WRONG[name]
    url = wrong.url or dsn_of(server.postgres_dsn, user=wrong.user, database=wrong.database) + wrong.options
    error = await refusal(url, server.redis_url)
    assert (type(error), str(error), error.retryable) == (wrong.error, wrong.said, wrong.retryable)
    assert error.outcome == "not_applied"
    assert SECRET not in "".join(traceback.format_exception(error))


async def test_a_port_where_nothing_listens(server: Embedded) -> None:
    (port,) = free_ports(1)
    error = await refusal(f"postgresql://app@127.0.0.1:{port}/x", server.redis_url)
    assert str(error) == "Nothing listens at the host and port of the URL."
    assert error.retryable


async def test_a_server_that_does_not_answer(server: Embedded) -> None:
    async with silent_server() as port:
        error = await refusal(f"postgresql://app@127.0.0.1:{port}/x?connect_timeout=1", server.redis_url)
    assert str(error) == "The database was not ready in time."


async def test_tls_that_the_server_lacks(server: Embedded) -> None:
    async with silent_server(b"N") as port:
        error = await refusal(f"postgresql://app@127.0.0.1:{port}/x?sslmode=require", server.redis_url)
    assert str(error) == "PostgreSQL does not offer TLS; enable it there, or use ?sslmode=disable."
    assert not error.retryable
