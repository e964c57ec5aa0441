"""Who connects to servers in a wrong way is told what mends it, by `open_stores` and by `convostore doctor`."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from string import Formatter
from typing import Any, TypeAlias

import pytest
from rich.console import Console

from convostore import open_stores
from convostore.cli.doctor import run
from convostore.embedded.binaries import postgres_programs
from convostore.errors import StoreError
from convostore.postgres import migrate
from convostore.postgres.migrations import HEAD
from tests.cluster.nodes import Node, eventually, free_ports
from tests.postgres.databases import connected
from tests.processes import private_directory
from tests.silence import silent_server
from tests.stores.servers import debian_programs, make_certificates, running_postgres
from tests.stores.setups import SECRET, WRONG, Wrong

pytestmark = pytest.mark.slow

Places: TypeAlias = dict[str, Any]
"""What stands for the names in braces; a reason to skip, for what this machine cannot have."""

PREPARED = f"""
CREATE ROLE locked LOGIN PASSWORD '{SECRET}'
CREATE ROLE rejected LOGIN
CREATE ROLE nologin NOLOGIN
CREATE ROLE stranger LOGIN
CREATE ROLE landlord LOGIN
CREATE ROLE lonely LOGIN CONNECTION LIMIT 0
CREATE ROLE reader LOGIN IN ROLE convostore_app
ALTER ROLE reader SET default_transaction_read_only = on
CREATE DATABASE empty
CREATE DATABASE owned OWNER landlord
CREATE DATABASE unconnectable ALLOW_CONNECTIONS false
CREATE DATABASE crowded CONNECTION LIMIT 0
CREATE DATABASE barred
REVOKE CONNECT ON DATABASE barred FROM PUBLIC
CREATE DATABASE latin TEMPLATE template0 LOCALE_PROVIDER libc ENCODING 'LATIN1' LOCALE 'C'
CREATE DATABASE ascii TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'
CREATE DATABASE vectorless
ALTER DATABASE vectorless SET extension_control_path = '/nowhere'
"""
COPIES = {
    "newer": "UPDATE convostore.alembic_version SET (version_num, compatible) = ('9001', '9001')",
    "outdated": "UPDATE pg_extension SET extversion = '0.8.1' WHERE extname = 'vector'",
    "hidden": "CREATE SCHEMA extensions; ALTER EXTENSION vector SET SCHEMA extensions",
    "revoked": "REVOKE USAGE ON SCHEMA convostore FROM convostore_app",
}
HBA = "host all locked 127.0.0.1/32 scram-sha-256\nhost all rejected 127.0.0.1/32 reject\n"
ONE_CONNECTION = {"max_connections": "1", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
ACL = (
    f"--user nokeys on >{SECRET} ~other:* +@all --user noscripts on >{SECRET} ~* +@all -eval -evalsha "
    f"--user noset on >{SECRET} ~* +@all -set --user noinfo on >{SECRET} ~* +@all -info"
).split()


@pytest.fixture(scope="module")
async def places() -> AsyncIterator[Places]:
    """Servers that cannot be used as they are asked to be, and one of each kind that can."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(private_directory())
        found: Places = {"nothing": free_ports(1)[0], "head": HEAD, "directory": directory}
        found["silent"] = await stack.enter_async_context(silent_server())
        for start in (start_postgres, start_valkey, start_cluster):
            await start(found, stack)
        for name, start in (("postgres15", start_postgres15), ("redis7", start_redis7)):
            try:
                await start(found, stack)
            except pytest.skip.Exception as reason:
                found |= {name: reason, f"{name}_tls": reason, "ca": reason, "minor": reason}
        yield found


async def start_postgres(places: Places, stack: AsyncExitStack) -> None:
    """Start a server with users and databases that cannot be used, and one whose only connection is taken."""
    directory, programs = places["directory"], postgres_programs(18)
    port = await stack.enter_async_context(running_postgres(programs, directory / "postgres", hba=HBA))
    server = f"postgresql://postgres@127.0.0.1:{port}"
    async with connected(f"{server}/postgres") as admin:
        await admin.execute("CREATE DATABASE convostore")
        await migrate(f"{server}/convostore")
        for statement in [
            *PREPARED.strip().split("\n"),
            *(f"CREATE DATABASE {name} TEMPLATE convostore" for name in COPIES),
        ]:
            await admin.execute(statement)
    await migrate(f"{server}/ascii")
    for name, statement in COPIES.items():
        async with connected(f"{server}/{name}") as admin:
            await admin.execute(statement)
    full = await stack.enter_async_context(running_postgres(programs, directory / "full", **ONE_CONNECTION))
    await stack.enter_async_context(connected(f"postgresql://postgres@127.0.0.1:{full}/postgres"))
    places |= {"postgres": port, "full": full}


def start_node(places: Places, stack: AsyncExitStack, name: str, *options: str, **more: Any) -> Node:
    """Start a Valkey server."""
    (port,) = free_ports(1)
    node = Node(places["directory"] / name, options, port, **more)
    node.start()
    stack.callback(node.kill)
    places[name] = port
    return node


async def start_valkey(places: Places, stack: AsyncExitStack) -> None:
    """Start a server with users, its replica, one with a password, and one without memory."""
    node = start_node(places, stack, "valkey", *ACL)
    replica = start_node(places, stack, "replica", "--replicaof", "127.0.0.1", str(node.port))
    no_memory = start_node(places, stack, "no_memory", "--maxmemory", "1mb")
    start_node(places, stack, "locked", "--requirepass", SECRET)
    for each in (node, replica, no_memory):
        await eventually(each.answers, f"{each} answers")


async def start_cluster(places: Places, stack: AsyncExitStack) -> None:
    """Start two nodes that share the slots."""
    cluster = "--cluster-enabled", "yes"
    nodes = [start_node(places, stack, name, *cluster) for name in ("cluster", "rest")]
    for node, slots in zip(nodes, ((0, 8_191), (8_192, 16_383)), strict=True):
        await eventually(node.answers, f"{node} answers")
        await node.ask("CLUSTER", "ADDSLOTSRANGE", *slots)
    await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", nodes[1].port)

    async def is_whole() -> bool:
        return "cluster_state:ok" in await nodes[0].ask("CLUSTER", "INFO")

    await eventually(is_whole, "the nodes know each other")


async def start_postgres15(places: Places, stack: AsyncExitStack) -> None:
    """Start Debian's PostgreSQL 15, which speaks TLS alone."""
    directory = places["directory"]
    program, _ = debian_programs(directory, "usr/lib/postgresql/15/bin/postgres", "postgresql-15")
    files = make_certificates(directory)
    places |= {"ca": files["ca.pem"], "other": files["other.pem"], "key": files["server.key"]}
    tls = {"ssl": "on", "ssl_cert_file": str(files["server.pem"]), "ssl_key_file": str(files["server.key"])}
    hba = "hostssl all all 127.0.0.1/32 trust\nhost all all all reject\n"
    server = running_postgres(program.parent, directory / "postgres15", hba=hba, **tls)
    port = places["postgres15"] = await stack.enter_async_context(server)
    async with connected(f"postgresql://postgres@127.0.0.1:{port}/postgres") as admin:
        places["minor"] = int(await admin.fetchval("SHOW server_version_num")) % 10_000


async def start_redis7(places: Places, stack: AsyncExitStack) -> None:
    """Start Debian's Redis 7.0, on a port with TLS and one without."""
    directory = places["directory"]
    found, libraries = debian_programs(directory, "usr/bin/redis-check-rdb", "redis-tools", "liblzf1", "libjemalloc2")
    # One program, which is what it is called.
    (program := directory / "redis-server").symlink_to(found)
    (port,) = free_ports(1)
    files = {"cert": directory / "server.pem", "key": directory / "server.key", "ca-cert": directory / "ca.pem"}
    tls = [part for name, file in files.items() for part in (f"--tls-{name}-file", str(file))]
    options = *ACL, "--tls-port", str(port), "--tls-auth-clients", "no", *tls
    node = start_node(places, stack, "redis7", *options, program=program, libraries=libraries)
    places["redis7_tls"] = port
    await eventually(node.answers, f"{node} answers")


def filled(text: str, places: Places) -> str:
    """Return a text with what stands for its names; skip the test if this machine cannot have it."""
    for _, name, _, _ in Formatter().parse(text):
        if name and isinstance(reason := places[name], pytest.skip.Exception):
            raise reason
    return text.format(**places)


def given(wrong: Wrong, places: Places) -> dict[str, Any]:
    """Return the settings of a set-up."""
    urls = {"postgres_url": wrong.postgres, "redis_url": wrong.redis}
    return {"embedded": False, **{name: filled(url, places) for name, url in urls.items() if url}}


@pytest.mark.parametrize("name", WRONG)
async def test_open_stores_says_what_is_wrong_and_what_mends_it(
    places: Places, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = WRONG[name]
    settings, said = given(wrong, places), filled(wrong.said, places)
    opening = open_stores(**settings, timeout=wrong.patience, sweep_every=0)
    if wrong.error is None:
        async with opening as stores:
            health = await stores.health()
        assert (health.serves, health.ok, health.backends["redis"].problem) == (True, False, said)
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert f"redis_url: {said.rstrip('.')}; until that is mended, PostgreSQL alone serves the sessions" in warned
        assert SECRET not in f"{warned} {health}"
        return
    with pytest.raises(StoreError) as caught:
        async with opening:
            raise AssertionError("they are open")
    error = caught.value
    assert (type(error), str(error), error.retryable) == (wrong.error, said, wrong.retryable)
    assert error.outcome == "not_applied"
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET not in repr(error)


@pytest.mark.parametrize("name", WRONG)
async def test_the_doctor_says_what_is_wrong_and_what_mends_it(places: Places, name: str) -> None:
    wrong, printed = WRONG[name], io.StringIO()
    settings, said = given(wrong, places), filled(wrong.doctor, places)
    try:
        well = await run(Console(file=printed, width=500), settings, timeout=wrong.patience)
        (first, *_) = (line for line in printed.getvalue().splitlines() if line.startswith("✗"))
    except StoreError as error:
        well, first = False, f"convostore: {error}"
    assert (well, first) == (False, said)
    assert SECRET not in printed.getvalue()
