"""`convostore memory`: maintains vector and text search."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from convostore.cli.options import AsJson, Home, PostgresUrl, given, reads, run

memory = typer.Typer(name="memory", help="Maintain vector and text search.", no_args_is_help=True)


@memory.command("reindex")
def memory_reindex(
    *,
    memory: Annotated[str, typer.Option(help="maintenance_work_mem of a build.")] = "512MB",
    workers: Annotated[int, typer.Option(help="Parallel workers of a build.", min=0, max=64)] = 0,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Build the indexes of spaces above 20,000 episodes and drop those of smaller ones, without blocking searches."""
    from convostore.cli import remembering

    run(remembering.run_reindex(memory, workers, given(home, postgres_url), as_json=as_json))


@memory.command("re-embed", epilog=reads("pooler"))
def memory_re_embed(
    *,
    to: Annotated[str, typer.Option(help="The name of the new model.", metavar="MODEL")],
    embedder: Annotated[str, typer.Option(help="Returns a vector for each text.", metavar="PACKAGE.MODULE:FUNCTION")],
    tenant: Annotated[list[UUID] | None, typer.Option(help="Only this tenant; repeatable.")] = None,
    batch: Annotated[int, typer.Option(help="Texts per call of the embedder.", min=1, max=1_000)] = 100,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Embed all episodes with another model beside the old embeddings, then switch over in one transaction."""
    from convostore.cli import remembering

    run(remembering.run_reembed(to, embedder, tenant or [], batch, given(home, postgres_url), as_json=as_json))


@memory.command("reindex-text", epilog=reads("pooler"))
def memory_reindex_text(
    *,
    tenant: Annotated[list[UUID] | None, typer.Option(help="Only this tenant; repeatable.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this cursor.", show_default=False)] = None,
    batch: Annotated[int, typer.Option(help="Texts per statement.", min=1, max=10_000)] = 500,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
) -> None:
    """Index again what an earlier release has stored, as this one reads text: episodes, entities, rules. Repeatable."""
    from convostore.cli import remembering

    run(remembering.run_reindex_text(tenant or [], after, batch, given(home, postgres_url), as_json=as_json))
