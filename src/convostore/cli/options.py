"""What commands share: options, and how a command runs and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from convostore.errors import StoreError, ValidationError

Home = Annotated[Path | None, typer.Option(help="Where embedded engines keep their data.", show_default=False)]
PostgresUrl = Annotated[str | None, typer.Option(help="Use this PostgreSQL server instead.", show_default=False)]
RedisUrl = Annotated[str | None, typer.Option(help="Use this Redis or Valkey server instead.", show_default=False)]
Tenant = Annotated[UUID, typer.Argument(help="The tenant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(home: Path | None, postgres_url: str | None, redis_url: str | None = None) -> dict[str, Any]:
    """Return the settings that were given."""
    settings = {"home": home, "postgres_url": postgres_url, "redis_url": redis_url}
    return {name: value for name, value in settings.items() if value is not None}


def run(command: Coroutine[Any, Any, bool]) -> None:
    """Run a command, print an error in one line, and exit with its code."""
    try:
        succeeded = asyncio.run(command)
    except StoreError as error:
        typer.echo(f"convostore: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ValidationError) else 1) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        typer.echo(
            f"convostore: {error.filename}: {error.strerror}" if error.filename else f"convostore: {error}", err=True
        )
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if succeeded else 1)
