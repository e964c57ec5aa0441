"""`convostore migrate`: the schema of a database, up or down."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from convostore.embedded import open_embedded
from convostore.postgres import migrate
from convostore.settings import load_settings


async def run(console: Console, revision: str, given: dict[str, Any]) -> bool:
    """Migrate, and print the revision."""
    settings = load_settings(given)
    if settings.postgres_url is not None:
        await migrate(settings.postgres_url.get_secret_value(), revision)
    else:
        async with open_embedded(settings.home, valkey=False) as engines:
            await migrate(engines.postgres_dsn, revision)
    console.print(f"The schema is at revision {revision}.", highlight=False)
    return True
