"""A connection to one server, as a caller holds it: pipelines, scripts, and what the server is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.exceptions import NoPermissionError, NoScriptError, ReadOnlyError

from convostore.call.call import running
from convostore.errors import ConnectionError
from convostore.redis import driver
from convostore.redis.errors import REPLIES
from convostore.redis.scripts import Script

Command: TypeAlias = "tuple[Any, ...]"
"""A command's name, its key (of a script after hash or text and the number of keys), and its other arguments."""


class Connection:
    """A connection to a server, held by one caller at a time.

    Args:
        raw: the driver's connection.
        asking: whether to send ASKING before each command, because the node is importing the slot.
    """

    def __init__(self, raw: driver.RawConnection, *, asking: bool = False) -> None:
        self.raw = raw
        self._asking = asking

    @property
    def socket(self) -> object:
        """An object that lives as long as the socket."""
        return driver.socket_of(self.raw)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return for each its reply, or the `ResponseError` it was refused with."""
        if self._asking:
            commands = [part for command in commands for part in (("ASKING",), command)]
        if (call := running.get()) is not None:
            call.sent = True
        replies = await driver.exchange(self.raw, commands)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # Another server is the primary now: the next caller connects anew, and finds it.
            driver.close_when_released(self.raw)
        return replies[1::2] if self._asking else replies

    async def execute(self, *command: Any) -> Any:
        """Send a command and return its reply, or raise it if it is an error."""
        (reply,) = await self.exchange([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run(self, script: Script, key: str | tuple[str, ...], *arguments: Any) -> Any:
        """Run a script on a key, or several of one slot, and load it if the server does not know it."""
        try:
            return await self.execute(*script.by_hash(key, *arguments))
        except NoScriptError:
            return await self.execute(*script.by_text(key, *arguments))

    async def info(self, *sections: str) -> dict[str, str]:
        """Return fields of INFO."""
        text = bytes(await self.execute("INFO", *sections)).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    async def version(self) -> str | None:
        """Return the server's name and version, or None if it answers and the user may not ask for them."""
        try:
            found = await self.info("server")
        except NoPermissionError:
            await self.execute("PING")
            return None
        name = "Valkey" if "valkey_version" in found else "Redis"
        return f"{name} {found.get('valkey_version') or found['redis_version']}"

    async def eviction_policy(self) -> str | None:
        """Return the server's maxmemory-policy, or None if the user may not ask for it."""
        try:
            return (await self.info("memory")).get("maxmemory_policy", "")
        except NoPermissionError:
            return None

    async def identity(self) -> str:
        """Return the server's run id and replication id: one of them changes whenever writes may have been lost.

        Raises:
            ConnectionError: the server is a replica.
        """
        found = await self.info("server", "replication")
        if found["role"] != "master":
            raise ConnectionError(REPLIES["READONLY"].message, code="READONLY")
        return f"{found['run_id']}:{found['master_replid']}"
