"""The PostgreSQL server that a command works on."""

from __future__ import annotations

from contextlib import AsyncExitStack

from convostore.cli.progress import waiting
from convostore.embedded import open_embedded
from convostore.settings import Settings


async def postgres_dsn(settings: Settings, stack: AsyncExitStack) -> str:
    """Return the URL that is set, or start the embedded server, which the stack stops."""
    if settings.postgres_url is not None:
        return settings.postgres_url.get_secret_value()
    with waiting("Starting PostgreSQL"):
        return (await stack.enter_async_context(open_embedded(settings.home, valkey=False))).postgres_dsn
