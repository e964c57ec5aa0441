"""What commands share: options, and how a command runs and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

import typer

from convostore.errors import StoreError, ValidationError

Home = Annotated[
    Path | None,
    typer.Option(help="Where embedded engines keep their data.", envvar="CONVOSTORE_HOME", show_default=False),
]
PostgresUrl = Annotated[
    str | None,
    typer.Option(help="Use this PostgreSQL server instead.", envvar="CONVOSTORE_POSTGRES_URL", show_default=False),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(help="Use this Redis or Valkey server instead.", envvar="CONVOSTORE_REDIS_URL", show_default=False),
]
Tenant = Annotated[UUID, typer.Argument(help="The tenant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]

REPLAY_TENANT = uuid5(NAMESPACE_URL, "convostore:replay")
"""The default tenant of a replay."""

OF_STORES = ("timeout", "pool_size", "pooler", "language", "hot_ttl", "max_age")
"""The settings of `open_stores` that have no options."""


def reads(*settings: str) -> str:
    """Return the last line of a command's help: the variables of further settings that it reads."""
    return f"Further settings: {', '.join(f'CONVOSTORE_{name.upper()}' for name in settings)}."


def given(home: Path | None, postgres_url: str | None, redis_url: str | None = None) -> dict[str, Any]:
    """Return the settings that were given."""
    settings = {"home": home, "postgres_url": postgres_url, "redis_url": redis_url}
    return {name: value for name, value in settings.items() if value is not None}


def confirm(question: str) -> None:
    """Ask on standard error whether to go on; end with 1 unless the answer is yes."""
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)
    try:
        answer = input()
    except EOFError:
        answer = ""
    except KeyboardInterrupt:
        raise interrupted() from None
    if answer.strip().lower() not in ("y", "yes"):
        typer.echo("Nothing was done.", err=True)
        raise typer.Exit(1)


def run(command: Coroutine[Any, Any, bool]) -> None:
    """Run a command, print an error in one line, and exit with its code."""
    try:
        succeeded = asyncio.run(_interruptible(command))
    except StoreError as error:
        raise _failed(str(error), 2 if isinstance(error, ValidationError) else 1) from None
    except OSError as error:
        if error.filename is None:
            raise  # of standard output
        raise _failed(f"{error.filename}: {error.strerror}", 2) from None
    except KeyboardInterrupt:
        raise interrupted() from None
    raise typer.Exit(0 if succeeded else 1)


async def _interruptible(command: Coroutine[Any, Any, bool]) -> bool:
    """Run a command. Once it is interrupted, what is left half done, as a connection being opened, is not reported."""
    task = asyncio.current_task()
    assert task is not None

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not (task.cancelling() or task.cancelled()):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(report)
    return await command


def interrupted() -> typer.Exit:
    """Return what ends an interrupted command, as shells know it."""
    typer.echo(err=True)
    return typer.Exit(130)


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(f"convostore: {message}", err=True)
    return typer.Exit(code)
