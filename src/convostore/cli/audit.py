"""`convostore audit`: verify and export a tenant's audit trail, and drop old bodies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
from rich.console import Console

from convostore.cli.database import postgres_dsn
from convostore.domain.codec import canonical, plain
from convostore.domain.verify_export import described
from convostore.errors import ValidationError
from convostore.models import AuditAnchor, AuditVerification
from convostore.postgres import PostgresAuditStore, create_pool, migrate
from convostore.postgres.pool import APPLICATION_ROLE, MAINTENANCE_ROLE
from convostore.settings import load_settings


async def run_verify(
    console: Console,
    tenant: UUID,
    session: UUID | None,
    anchors: Path | None,
    write_anchors: Path | None,
    given: dict[str, Any],
) -> bool:
    """Verify a trail, print the result, and return whether it is intact."""
    async with _store(given) as store:
        result = await store.verify(tenant, session, _anchors(anchors) if anchors else None)
        _show(console, result)
        if result.ok and write_anchors is not None:
            with write_anchors.open("w", encoding="utf-8") as file:
                async for anchor in store.iter_anchors(tenant):
                    if session in (None, anchor.session_id):
                        file.write(f"{canonical(anchor)}\n")
    return result.ok


async def run_export(tenant: UUID, session: UUID | None, output: Path, given: dict[str, Any]) -> bool:
    """Write a trail to a file."""
    async with _store(given) as store:
        with output.open("w", encoding="utf-8") as file:
            async for line in store.export(tenant, session_id=session):
                file.write(f"{line}\n")
    return True


async def run_prune(console: Console, before: datetime, given: dict[str, Any]) -> bool:
    """Drop bodies by the month, and print the months."""
    async with _store(given, MAINTENANCE_ROLE) as store:
        months = await store.drop_bodies(before=before.replace(tzinfo=UTC))
    console.print(f"Dropped the bodies of {_listed(months)}.", highlight=False)
    return True


@asynccontextmanager
async def _store(given: dict[str, Any], role: str = APPLICATION_ROLE) -> AsyncIterator[PostgresAuditStore]:
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        dsn = await postgres_dsn(settings, stack)
        await migrate(dsn)
        pool = await stack.enter_async_context(await create_pool(dsn, max_size=1, role=role, pooler=settings.pooler))
        yield PostgresAuditStore(pool, timeout=settings.timeout)


def _anchors(path: Path) -> list[AuditAnchor]:
    try:
        return [AuditAnchor.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]
    except (pydantic.ValidationError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path.name}: must hold anchors, one JSON object per line") from error


def _show(console: Console, result: AuditVerification) -> None:
    if result.problem is not None:
        console.print(f"[bold red]{described(plain(result.problem))}[/]", highlight=False)
    found = f"{result.records:,} records in {result.chains:,} chains and {result.bodies:,} bodies"
    console.print(f"{found} are as they were recorded.", highlight=False)
    if result.months_dropped:
        console.print(f"Bodies were dropped in {_listed(result.months_dropped)}.", highlight=False)
    if result.head is not None:
        console.print(f"Head: {json.dumps(plain(result.head))}", highlight=False, soft_wrap=True)


def _listed(months: Iterable[Any]) -> str:
    return ", ".join(f"{month:%Y-%m}" for month in months) or "no month"
