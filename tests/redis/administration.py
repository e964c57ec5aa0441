"""Commands on a whole database, which only tests may send: in scripts with a mark that the recorder recognises."""

from __future__ import annotations

from typing import Any

MARK = "-- a test's own"


async def flush(client: Any) -> None:
    """Empty the database of a client."""
    await client.eval(f"{MARK}\nreturn redis.call('FLUSHDB')", 0)


async def all_keys(client: Any) -> list[bytes]:
    """Return every key of the database of a client."""
    return list(await client.eval(f"{MARK}\nreturn redis.call('KEYS', '*')", 0))


async def random_key(client: Any) -> bytes | None:
    """Return some key of the database of a client, or None if it is empty."""
    key: bytes | None = await client.eval(f"{MARK}\nreturn redis.call('RANDOMKEY')", 0)
    return key
