"""`convostore inspect`: its commands and their options."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from convostore.cli.options import AsJson, Home, PostgresUrl, RedisUrl, Tenant, given, reads, run
from convostore.models import SessionStatus

inspect = typer.Typer(
    name="inspect",
    help="Look into the stores, as a role that only reads; content is masked.",
    no_args_is_help=True,
)

Agent = Annotated[UUID, typer.Argument(help="The agent.")]
Session = Annotated[UUID, typer.Argument(help="The session.")]
Profile = Annotated[
    str, typer.Argument(help="The profile: its id, its customer id, or an identity such as email:ann@example.com.")
]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=1_000)]
After = Annotated[str | None, typer.Option(help="Go on behind this cursor.", show_default=False)]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show content too; an audit event records who did.")]
_READS = reads("timeout", "pooler", "language")


@inspect.command(epilog=_READS)
def tenants(
    *,
    limit: Limit = 20,
    after: Annotated[UUID | None, typer.Option(help="Go on behind this tenant.", show_default=False)] = None,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """List the tenants, with the number of their agents and the time of their latest turn."""
    from convostore.cli import views
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url))
    run(views.show_tenants(opened, limit, after, as_json=as_json))


@inspect.command(epilog=_READS)
def agents(
    tenant: Tenant,
    *,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """List a tenant's agents by name."""
    from convostore.cli import views
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url))
    run(views.show_agents(opened, tenant, limit, after, as_json=as_json))


@inspect.command(epilog=_READS)
def sessions(
    tenant: Tenant,
    *,
    agent: Annotated[UUID | None, typer.Option(help="Those of this agent.", show_default=False)] = None,
    customer: Annotated[UUID | None, typer.Option(help="Those of this profile.", show_default=False)] = None,
    status: Annotated[SessionStatus | None, typer.Option(help="Those with this status, of an agent.")] = None,
    limit: Limit = 20,
    after: After = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """List sessions of an agent or a customer: tier, lock, revision, and the step at which they stand."""
    from convostore.cli import views
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url), reveal=reveal)
    run(views.show_sessions(opened, tenant, agent, customer, status, limit, after, as_json=as_json))


@inspect.command(epilog=_READS)
def session(
    tenant: Tenant,
    session: Session,
    *,
    reveal: Reveal = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show one session: its state, its steps and its variables."""
    from convostore.cli import views
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url), reveal=reveal)
    run(views.show_session(opened, tenant, session, as_json=as_json))


@inspect.command(epilog=_READS)
def turns(
    tenant: Tenant,
    session: Session,
    *,
    limit: Limit = 20,
    after: After = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """List a session's turns, each marked as verified by its hash chain or not; exit with 1 if the chain is broken."""
    from convostore.cli import views
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url), reveal=reveal)
    run(views.show_turns(opened, tenant, session, limit, after, as_json=as_json))


@inspect.command(epilog=_READS)
def timeline(
    tenant: Tenant,
    profile: Profile,
    *,
    limit: Limit = 20,
    after: After = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """List a customer's sessions, turns and events, newest first."""
    from convostore.cli import customers
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url), reveal=reveal)
    run(customers.show_timeline(opened, tenant, profile, limit, after, as_json=as_json))


@inspect.command(epilog=_READS)
def profiles(
    tenant: Tenant,
    *,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """List a tenant's profiles, newest first."""
    from convostore.cli import customers
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url))
    run(customers.show_profiles(opened, tenant, limit, after, as_json=as_json))


@inspect.command(epilog=_READS)
def profile(
    tenant: Tenant,
    profile: Profile,
    *,
    reveal: Reveal = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show one profile: identities, fields with source and history, assets, consents."""
    from convostore.cli import customers
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url), reveal=reveal)
    run(customers.show_profile(opened, tenant, profile, as_json=as_json))


@inspect.command(epilog=_READS)
def memory(
    tenant: Tenant,
    agent: Agent,
    query: Annotated[str, typer.Argument(help="What is asked, in plain words.")],
    *,
    customer: Annotated[UUID | None, typer.Option(help="Only of this profile.", show_default=False)] = None,
    embedder: Annotated[
        str | None,
        typer.Option(help="Embeds the query; without it, words alone count.", metavar="PACKAGE.MODULE:FUNCTION"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only episodes embedded by this model.", show_default=False)] = None,
    limit: Limit = 10,
    reveal: Reveal = False,
    as_json: AsJson = False,
    home: Home = None,
    postgres_url: PostgresUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Search an agent's episodes as the application does, and show how each score came about."""
    from convostore.cli import views
    from convostore.cli.looking import looking

    opened = looking(given(home, postgres_url, redis_url), reveal=reveal)
    run(views.show_memory(opened, tenant, agent, query, customer, embedder, model, limit, as_json=as_json))
