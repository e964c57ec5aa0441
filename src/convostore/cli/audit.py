"""`convostore audit`: verify and export a tenant's audit trail, and drop old bodies."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from convostore.cli.options import AsJson, Home, PostgresUrl, Tenant, Yes, confirm, given, reads, run

audit = typer.Typer(name="audit", help="Verify and export audit trails, and drop old bodies.", no_args_is_help=True)

OneSession = Annotated[UUID | None, typer.Option("--session", help="Only this session.", show_default=False)]
_READS = reads("timeout", "pooler")


@audit.command("verify", epilog=_READS)
def audit_verify(
    tenant: Tenant,
    *,
    session: OneSession = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Anchors that earlier verifications wrote.", exists=True, dir_okay=False)
    ] = None,
    from_anchors: Annotated[
        bool, typer.Option("--from-anchors", help="Read each chain from its latest anchor on, not from its beginning.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(help="Keep in this file how far it got, and go on there; removed at the end.", dir_okay=False),
    ] = None,
    write_anchors: Annotated[
        Path | None, typer.Option(help="Write the heads of the chains to this file, to be kept elsewhere; - to print.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Verify the hash chains and bodies of a tenant, or of one session; exit with 1 at the first that was changed."""
    from convostore.cli import auditing

    settings = given(home, postgres_url)
    run(
        auditing.verify(
            tenant, session, anchors, resume, write_anchors, settings, from_anchor=from_anchors, as_json=as_json
        )
    )


@audit.command("export", epilog=_READS)
def audit_export(
    tenant: Tenant,
    output: Annotated[Path, typer.Argument(help="The file to write; - for standard output.", dir_okay=False)],
    *,
    session: OneSession = None,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Write a tenant's records and bodies as JSON Lines, which verify_export.py verifies without convostore."""
    from convostore.cli import auditing

    run(auditing.export(tenant, session, output, given(home, postgres_url), as_json=as_json))


@audit.command("prune", epilog=_READS)
def audit_prune(
    before: Annotated[datetime, typer.Argument(help="A moment in UTC.", formats=["%Y-%m-%d", "%Y-%m"])],
    *,
    yes: Yes = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Drop the bodies of all tenants recorded in months that ended before a moment; their records stay."""
    from convostore.cli import auditing

    if not yes:
        confirm(f"This deletes the bodies of all tenants recorded before {before:%Y-%m}. Continue?")
    run(auditing.prune(before, given(home, postgres_url), as_json=as_json))
