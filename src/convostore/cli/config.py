"""`convostore config`: an agent's configuration as files, for reviews and version control."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from convostore.cli.options import AsJson, Home, PostgresUrl, Tenant, given, reads, run

config = typer.Typer(name="config", help="Export and import an agent's configuration as files.", no_args_is_help=True)

Delete = Annotated[bool, typer.Option("--delete", help="Delete what the other side does not have.")]


@config.command("export", epilog=reads("timeout", "pooler"))
def config_export(
    tenant: Tenant,
    agent: Annotated[UUID, typer.Argument(help="The agent.")],
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is missing.", file_okay=False)],
    *,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Write embeddings, too.")] = False,
    delete: Delete = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Write an agent, its rules, scenarios, templates, variables and tools as files; what is the same is left alone."""
    from convostore.cli import configuring

    settings = given(home, postgres_url)
    run(
        configuring.export_files(
            tenant, agent, directory, settings, embeddings=embeddings, delete=delete, as_json=as_json
        )
    )


@config.command("import", epilog=reads("timeout", "pooler", "language"))
def config_import(
    tenant: Tenant,
    directory: Annotated[Path, typer.Argument(help="As export wrote it.", exists=True, file_okay=False, readable=True)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what differs.")] = False,
    delete: Delete = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Make an agent what files say: save what differs; repeating it changes nothing."""
    from convostore.cli import configuring

    settings = given(home, postgres_url)
    run(configuring.import_files(tenant, directory, settings, delete=delete, dry_run=dry_run, as_json=as_json))
