"""PgBouncer over TCP with TLS and a certificate of one's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.embedded.supervisor.identity import choose
from convostore.errors import ConnectionError
from convostore.testing.factories import make_agent
from tests.cluster.nodes import free_ports
from tests.pooler.pgbouncer import pgbouncer
from tests.pooler.test_wrong_setups import refusal, told
from tests.processes import private_directory


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """Two certificates for `localhost`, each its own authority, with their keys."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    options = [
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    with private_directory() as folder:
        for name in ("own", "other"):
            files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
            command = ["openssl", "req", *options, "-addext", "subjectAltName=DNS:localhost", *files]
            subprocess.run(command, check=True, capture_output=True)
        os.chown(folder / "own.key", choose().uid, choose().gid)
        yield folder


@pytest.fixture(scope="module")
async def place(engines: Embedded, login: str, certificates: Path) -> AsyncIterator[str]:
    """The beginning of the DSN of PgBouncer in transaction mode, which demands TLS."""
    (port,) = free_ports(1)
    settings = {"listen_addr": "127.0.0.1", "listen_port": port, "client_tls_sslmode": "require"}
    files = {"client_tls_key_file": certificates / "own.key", "client_tls_cert_file": certificates / "own.pem"}
    async with pgbouncer(engines.postgres_dsn, "transaction", **settings, **files):
        yield f"postgresql://{login}@localhost:{port}/convostore"


async def test_a_certificate_that_is_named_is_trusted(engines: Embedded, place: str, certificates: Path) -> None:
    url = f"{place}?sslmode=verify-full&sslrootcert={certificates}/own.pem"
    async with open_stores(
        postgres_url=url, redis_url=engines.redis_url, pooler="transaction", sweep_every=0
    ) as stores:
        agent = make_agent(uuid4())
        await stores.config.save_agent(agent)
        assert await stores.config.get_agent(agent.tenant_id, agent.id) == agent


async def test_a_certificate_of_somebody_else_is_refused(engines: Embedded, place: str, certificates: Path) -> None:
    url = f"{place}?sslmode=verify-full&sslrootcert={certificates}/other.pem"
    said = "PostgreSQL's certificate is not trusted; name its authority with ?sslrootcert=."
    assert told(await refusal(url, engines, "transaction")) == (ConnectionError, said, False, "not_applied")


async def test_a_pooler_that_demands_tls_is_named(engines: Embedded, place: str) -> None:
    said = "The pooler demands TLS; leave ?sslmode=disable away."
    error = await refusal(f"{place}?sslmode=disable", engines, "transaction")
    assert told(error) == (ConnectionError, said, False, "not_applied")
