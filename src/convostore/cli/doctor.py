"""`convostore doctor`: checks servers, versions and privileges, and names the remedy for each problem."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from rich.console import Console

from convostore.errors import StoreError, ValidationError
from convostore.postgres import PostgresConfigStore, create_pool, schema_version
from convostore.postgres.migrations import HEAD, VERSIONS
from convostore.postgres.pool import connect_arguments
from convostore.redis import check_eviction, create_client
from convostore.redis.client import UNCHECKED_EVICTION
from convostore.redis.connection import Connection
from convostore.redis.servers import servers_of
from convostore.settings import load_settings
from convostore.stores import server_urls

_PGVECTOR = """
SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'
"""

_FLOORS = {"Valkey": (7, 2), "Redis": (7, 0)}
_UNKNOWN = "a version that could not be checked, because the user may not call INFO"

Check = Callable[[], Awaitable[str]]
"""Returns what it found; raises ValidationError with the remedy if that does not suffice."""


async def run(console: Console, given: dict[str, Any]) -> bool:
    """Run all checks, print their results, and return whether all passed."""
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        with console.status("Starting or reaching the servers"):
            postgres_url, redis_url = await server_urls(settings, stack)
        checks = {
            "PostgreSQL": lambda: _postgres(postgres_url),
            "pgvector": lambda: _pgvector(postgres_url),
            "schema": lambda: _schema(postgres_url),
            "application role": lambda: _role(postgres_url),
            "Redis or Valkey": lambda: _redis(redis_url),
            "eviction": lambda: _eviction(redis_url),
        }
        results = [await _passes(console, subject, check) for subject, check in checks.items()]
    return all(results)


async def _passes(console: Console, subject: str, check: Check) -> bool:
    try:
        detail = await check()
    except (StoreError, OSError, asyncpg.PostgresError) as error:
        console.print(f"[red]✗[/] {subject}: {error if isinstance(error, StoreError) else type(error).__name__}")
        return False
    console.print(f"[green]✓[/] {subject}: {detail}", highlight=False)
    return True


async def _ask(dsn: str, question: str) -> Any:
    connection = await asyncpg.connect(**connect_arguments(dsn))
    try:
        return await connection.fetchval(question)
    finally:
        connection.terminate()


async def _postgres(dsn: str) -> str:
    number = int(await _ask(dsn, "SHOW server_version_num"))
    if number < 160_000:
        raise ValidationError(f"{number // 10_000} is too old; convostore needs 16 or newer")
    return f"{number // 10_000}.{number % 10_000}"


async def _pgvector(dsn: str) -> str:
    found: str | None = await _ask(dsn, _PGVECTOR)
    if found is None or tuple(map(int, found.split(".")))[:2] < (0, 8):
        raise ValidationError(f"{found or 'not installed'}; install pgvector 0.8 or newer on the server")
    return found


async def _schema(dsn: str) -> str:
    version = await schema_version(dsn)
    if version not in VERSIONS:
        return f"{version}, of a newer release, which declares that this one works with it"
    if version != HEAD:
        raise ValidationError(f"at {version}, this release works with {HEAD}; run: convostore migrate")
    return version


async def _role(dsn: str) -> str:
    async with await create_pool(dsn, max_size=1) as pool:
        if not await PostgresConfigStore(pool).health_check():
            raise ValidationError("connections cannot run as convostore_app; run: convostore migrate")
    return "connections run as convostore_app, under row-level security"


async def _redis(url: str) -> str:
    async with create_client(url, max_connections=1) as client:
        found = await servers_of(client).everywhere(Connection.version)
    versions = " and ".join(sorted({_supported(version or _UNKNOWN) for version in found}))
    return f"{versions} on {len(found)} primaries of a cluster" if len(found) > 1 else versions


def _supported(version: str) -> str:
    name, _, number = version.partition(" ")
    needed = _FLOORS.get(name)
    if needed and tuple(map(int, number.split(".")))[:2] < needed:
        raise ValidationError(f"{version} is too old; convostore needs {'.'.join(map(str, needed))} or newer")
    return version


async def _eviction(url: str) -> str:
    async with create_client(url, max_connections=1) as client:
        try:
            if not await check_eviction(client):
                return UNCHECKED_EVICTION
        except ValidationError:
            return "may evict hot copies, which loses nothing; RedisSessionStore would refuse this server"
    return "evicts no copies"
