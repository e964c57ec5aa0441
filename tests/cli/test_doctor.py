"""The checks of `convostore doctor`, each a line: what was found, or what is wrong and what mends it."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable

import pytest
from rich.console import Console

from convostore.cli import doctor
from convostore.embedded import Embedded
from convostore.redis import create_client


async def line_of(subject: str, check: doctor.Check) -> str:
    """Return what a check prints."""
    printed = io.StringIO()
    await doctor._passes(Console(file=printed, width=200), subject, check)
    return printed.getvalue().strip()


@pytest.mark.parametrize("check", [doctor._redis, doctor._eviction])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://127.0.0.1:1", "Nothing listens at the host and port of the Redis URL."),
        ("redis+cluster://127.0.0.1:1", "No node of the cluster could be reached."),
    ],
)
async def test_a_server_that_does_not_answer_is_a_line(
    check: Callable[[str], Awaitable[str]], url: str, message: str
) -> None:
    assert await line_of("Redis or Valkey", lambda: check(url)) == f"✗ Redis or Valkey: {message}"


async def test_a_user_who_may_not_call_info_is_told_what_could_not_be_checked(engines: Embedded) -> None:
    url = f"{engines.redis_url}?username=uninformed&password=password"
    async with create_client(engines.redis_url) as client:
        await client.execute_command("ACL", "SETUSER", "uninformed", "on", ">password", "+@all", "-info", "~*")
        assert "could not be checked" in await line_of("eviction", lambda: doctor._eviction(url))
        assert "could not be checked" in await line_of("Redis or Valkey", lambda: doctor._redis(url))
        await client.acl_deluser("uninformed")
