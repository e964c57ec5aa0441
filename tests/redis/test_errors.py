"""The driver's errors become store errors in `Servers`, and what one refused command means for a pipeline."""

from __future__ import annotations

import ast
import socket
import ssl
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest
from redis import exceptions
from redis.asyncio import Redis
from redis.exceptions import RedisError

import convostore
from convostore.embedded import Embedded
from convostore.errors import ConnectionError, StoreError
from convostore.redis import RedisSessionStore, create_client, keys
from convostore.redis.commands import Commands
from convostore.redis.connection import Command, Connection
from convostore.redis.errors import DRIVER, REPLIES, _causes, translated
from convostore.redis.routing import Servers
from convostore.redis.servers import servers_of

ROOT = Path(convostore.__file__).parent
KEY = f"{keys.BUCKETS[0]}nothing"
INTERNALS = {
    *("nodes_manager", "slots_cache", "nodes_cache", "move_slot", "set_nodes", "connection_kwargs", "connection_pool"),
    *("acquire_connection", "disconnect_if_needed", "mark_for_reconnect", "get_connection", "can_read", "disconnect"),
    *("send_packed_command", "pack_commands", "read_response"),
}
"""Names in redis-py that are not private, but below what its documentation describes."""

GET: Command = ("GET", KEY)


def refused(prefix: str) -> Command:
    """Return a command that the server answers with an error."""
    return "EVAL", f"return redis.error_reply('{prefix} 1 127.0.0.1:1')", 1, KEY


async def get(connection: Connection) -> object:
    return await connection.execute(*GET)


@pytest.mark.parametrize(
    "call",
    [
        lambda servers: servers.on(KEY, get),
        lambda servers: servers.everywhere(get),
        lambda servers: first_of(servers.send([GET])),
    ],
    ids=["on", "everywhere", "send"],
)
@pytest.mark.parametrize(
    ("url", "code"), [("unix:///nowhere", "connection"), ("redis+cluster://127.0.0.1:1", "cluster")]
)
async def test_an_unreachable_server_is_a_store_error_in_every_call_of_servers(
    url: str, code: str, call: Callable[[Servers], Awaitable[object]]
) -> None:
    async with create_client(url) as client:
        with pytest.raises(ConnectionError) as gone:
            await call(servers_of(client))
    assert gone.value.code == code
    assert gone.value.__cause__ is not None
    assert not isinstance(gone.value, RedisError)


async def first_of(replies: Awaitable[list[object]]) -> None:
    """Raise the first reply, which is an error."""
    error = (await replies)[0]
    assert isinstance(error, Exception)
    raise error


def facts(error: object) -> tuple[type, str | None, bool, str, str]:
    """Return what a caller learns from an error."""
    assert isinstance(error, StoreError)
    return type(error), error.code, error.retryable, error.outcome, str(error)


@pytest.mark.parametrize("beginning", [each for each in REPLIES if each not in ("MOVED", "ASK")])
async def test_every_reply_of_the_table_means_what_it_says(client: Redis, beginning: str) -> None:
    meaning = REPLIES[beginning]
    (error,) = await servers_of(client).send([refused(beginning)])
    code = beginning.partition(" ")[0]
    assert facts(error) == (meaning.error, code, meaning.retryable, meaning.outcome, meaning.message)
    assert error.__cause__ is not None


async def test_a_reply_of_no_table_keeps_its_prefix_and_is_not_retryable(client: Redis) -> None:
    (error,) = await servers_of(client).send([refused("NEWKIND")])
    assert facts(error)[:4] == (StoreError, "NEWKIND", False, "unknown")


@pytest.mark.parametrize("kind", DRIVER, ids=lambda kind: kind.__qualname__)
def test_every_class_of_the_table_means_what_it_says(kind: type[Exception]) -> None:
    code, meaning = DRIVER[kind]
    expected = (meaning.error, code, meaning.retryable, meaning.outcome, meaning.message)
    error = kind("what the driver says, with a secret")
    assert facts(translated(error)) == expected
    assert translated(error).__cause__ is error


def test_causes_that_lead_back_to_an_error_are_followed_once() -> None:
    # So it is if an error that several callers share is raised again while one is handled that it caused.
    shared, error = OSError("lost"), exceptions.ConnectionError("lost")
    error.__cause__, shared.__context__ = shared, error
    assert list(islice(_causes(error), 3)) == [error, shared]
    assert translated(error).code == "connection"


def test_every_class_of_the_driver_and_kind_of_the_system_is_in_the_table() -> None:
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds += [ConnectionRefusedError, ConnectionResetError, BrokenPipeError, FileNotFoundError, socket.gaierror]
    outside = {kind for kind in kinds if not issubclass(kind, tuple(DRIVER))}
    # Of a parser for other processes, and of a client that retries.
    assert outside == {exceptions.ChildDeadlockedError, exceptions.IncorrectPolicyType}


@pytest.mark.parametrize(
    ("cause", "code", "retryable"),
    [
        (ConnectionRefusedError(), "connection", True),
        (PermissionError(), "permission", False),
        (ssl.SSLCertVerificationError(), "certificate", False),
        (exceptions.AuthenticationError("no", status_code="WRONGPASS"), "WRONGPASS", False),
    ],
)
def test_the_cause_of_a_lost_connection_decides(cause: Exception, code: str, retryable: bool) -> None:
    error = exceptions.ConnectionError("Error connecting.")
    error.__context__ = cause
    assert facts(translated(error))[1:3] == (code, retryable)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("?db=9999", "ERR", "database"),
        ("?username=nobody&password=wrong", "WRONGPASS", "password"),
    ],
)
async def test_a_mistake_in_the_url_is_not_retried(engines: Embedded, options: str, code: str, message: str) -> None:
    async with create_client(f"{engines.redis_url}{options}") as client:
        with pytest.raises(ConnectionError, match=message) as refused:
            await RedisSessionStore(client).delete(uuid4())
    assert facts(refused.value)[1:4] == (code, False, "not_applied")


async def test_a_script_that_was_refused_in_its_middle_may_have_changed_something(client: Redis) -> None:
    begun: Command = "EVAL", "redis.call('SET', KEYS[1], 1) return redis.call('LPUSH', KEYS[1], 1)", 1, KEY
    (error,) = await servers_of(client).send([begun])
    assert facts(error)[1:4] == ("WRONGTYPE", False, "unknown")


@pytest.mark.parametrize("prefix", ["MOVED", "ASK"])
async def test_a_node_of_a_cluster_that_is_taken_for_one_server_is_named(client: Redis, prefix: str) -> None:
    with pytest.raises(ConnectionError, match=r"redis\+cluster"):
        await servers_of(client).send([refused(prefix)])


@pytest.mark.parametrize(
    ("others", "outcome"), [([], "not_applied"), ([GET], "unknown"), ([refused("OOM")], "not_applied")]
)
async def test_a_pipeline_of_which_other_commands_ran_has_an_unknown_outcome(
    client: Redis, others: list[Command], outcome: str
) -> None:
    with pytest.raises(ConnectionError) as failed:
        await Commands(client).send([refused("OOM"), *others])
    assert (failed.value.code, failed.value.outcome) == ("OOM", outcome)


def modules_of(*folders: str) -> dict[str, ast.Module]:
    """Return the modules of some folders, parsed, but for the adapter."""
    paths = [path for folder in folders for path in ROOT.joinpath(folder).glob("*.py")]
    others = [path for path in paths if path.name not in ("driver.py", "topology.py")]
    return {f"{path.parent.name}/{path.name}": ast.parse(path.read_text()) for path in others}


def test_the_drivers_errors_are_known_below_servers_only() -> None:
    imported = {
        name
        for name, module in modules_of("redis", "tiered").items()
        for node in ast.walk(module)
        if (isinstance(node, ast.ImportFrom) and node.module == "redis.exceptions")
        or (isinstance(node, ast.ImportFrom) and node.module == "redis" and node.names[0].name == "exceptions")
    }
    # `client` tells what is wrong with a URL, before there is a connection.
    of_calls = {
        "redis/connection.py",
        "redis/errors.py",
        "redis/multiplexing.py",
        "redis/routing.py",
        "redis/servers.py",
    }
    assert imported == of_calls | {"redis/client.py"}


def test_nothing_but_the_adapter_touches_what_is_private_to_the_driver() -> None:
    touched = {
        f"{name}:{node.lineno}: {ast.unparse(node)}"
        for name, module in modules_of("redis", "tiered").items()
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute)
        and (node.attr in INTERNALS or (node.attr.startswith("_") and not node.attr.endswith("__")))
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "twin"))
    }
    assert touched == set()
