"""The command line as a whole. Exit codes: 0 success, 1 failure, 2 invalid input, 130 interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from convostore import __version__
from convostore.cli.audit import audit
from convostore.cli.config import config
from convostore.cli.inspect import inspect
from convostore.cli.memory import memory
from convostore.cli.migrate import migrate
from convostore.cli.options import (
    OF_STORES,
    REPLAY_TENANT,
    AsJson,
    Home,
    PostgresUrl,
    RedisUrl,
    Yes,
    confirm,
    given,
    reads,
    run,
)
from convostore.cli.output import terminal

app = typer.Typer(
    name="convostore",
    help="Persistence for multi-tenant conversational agents.",
    epilog="Options that name a variable, CONVOSTORE_…, take its value where they are not given.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (memory, migrate, audit, config, inspect):
    app.add_typer(group)


@app.callback(invoke_without_command=True)
def _main(
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        typer.echo(f"convostore {__version__}")
        raise typer.Exit


@app.command(epilog=reads("timeout", "pool_size", "language"))
def demo(*, as_json: AsJson = False) -> None:
    """Replay a sample through all five stores, on temporary embedded engines."""
    from convostore.cli import demo as demonstration

    run(demonstration.run(as_json=as_json))


@app.command(epilog=reads(*OF_STORES))
def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSON Lines of records, or the JSON files of ABCD; - for records from standard input.",
            exists=True,
            dir_okay=False,
            allow_dash=True,
        ),
    ],
    *,
    tenant: Annotated[UUID, typer.Option(help="The tenant that owns the imported data.")] = REPLAY_TENANT,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Import agents and replay conversations from files; repeating it changes nothing."""
    from convostore.cli import replay as replaying

    run(replaying.run(files, tenant, given(home, postgres_url, redis_url), as_json=as_json))


@app.command(epilog=reads(*OF_STORES))
def sweep(
    *,
    every: Annotated[float | None, typer.Option(help="Repeat at this interval, in seconds.", min=0.1)] = None,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Demote sessions idle for longer than hot_ttl, and delete those idle for longer than max_age."""
    from convostore.cli import sweep as sweeping

    run(sweeping.run(every, given(home, postgres_url, redis_url), as_json=as_json))


@app.command(epilog=reads("pooler"))
def purge(
    *,
    days: Annotated[float, typer.Option(help="How long ago it was deleted at least.", min=0, max=36_500)] = 30.0,
    yes: Yes = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Remove for good what tenants have deleted of configuration and profiles, in batches; repeatable."""
    from convostore.cli import purge as purging

    if not yes:
        confirm(f"This removes what all tenants deleted more than {days:g} days ago for good. Continue?")
    run(purging.run(days, given(home, postgres_url), as_json=as_json))


@app.command(epilog=reads("pooler"))
def expire(*, as_json: AsJson = False, home: Home = None, postgres_url: PostgresUrl = None) -> None:
    """Let the fields of profiles expire whose time has come, of all tenants, in batches; repeatable."""
    from convostore.cli import purge as purging

    run(purging.run_expiry(given(home, postgres_url), as_json=as_json))


@app.command(epilog=reads("pooler"))
def stats(
    tenant: Annotated[UUID | None, typer.Argument(help="The tenant; without, the tables of all.")] = None,
    *,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Show rows and bytes by table: a tenant's rows, counted, or all, as PostgreSQL's catalogue knows them."""
    from convostore.cli import stats as statistics

    run(statistics.run(tenant, given(home, postgres_url), as_json=as_json))


@app.command(epilog=reads("pool_size", "pooler", "max_age"))
def doctor(
    *,
    as_json: AsJson = False,
    timeout: Annotated[float, typer.Option(help="Seconds that each check may take.", min=0.1)] = 10.0,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Check settings, servers, versions and privileges, and name the remedy for each problem."""
    from convostore.cli import doctor as diagnosis

    run(diagnosis.run(terminal(), given(home, postgres_url, redis_url), as_json=as_json, timeout=timeout))
