"""What the commands of `convostore audit` do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
import typer

from convostore.cli.database import postgres_dsn
from convostore.cli.files import STANDARD, check_writable, writing
from convostore.cli.output import report
from convostore.cli.progress import Watching, counting, waiting
from convostore.domain.codec import canonical, plain
from convostore.domain.verify_export import described
from convostore.errors import ValidationError
from convostore.models import AuditAnchor, AuditVerification
from convostore.postgres import PostgresAuditStore, create_pool, migrate
from convostore.postgres.pool import APPLICATION_ROLE, MAINTENANCE_ROLE
from convostore.settings import load_settings

_STEP = 1_000
"""Records per step of a verification."""


async def verify(
    tenant: UUID,
    session: UUID | None,
    anchors: Path | None,
    resume: Path | None,
    write_anchors: Path | None,
    given: dict[str, Any],
    *,
    from_anchor: bool,
    as_json: bool,
) -> bool:
    """Verify a trail in steps, print the result, and return whether it is intact."""
    for path in (resume, write_anchors):
        if path is not None:
            check_writable(path)
    result, known = _interrupted(resume) if resume else None, _anchors(anchors) if anchors else None
    async with _store(given) as store:
        with counting("Verifying records") as watch:
            watching = store.with_interceptors(Watching("list_records", watch))
            watch(result.records if result else 0)
            while result is None or result.next:
                result = await watching.verify(
                    tenant, session, known, from_anchor=from_anchor, limit=_STEP, after=result
                )
                if resume:
                    _keep(resume, result)
        if result.ok and write_anchors is not None:
            with writing(write_anchors) as file:
                async for anchor in store.iter_anchors(tenant):
                    if session in (None, anchor.session_id):
                        file.write(f"{canonical(anchor)}\n")
    _show(result, as_json=as_json, err=write_anchors == STANDARD)
    return result.ok


async def export(tenant: UUID, session: UUID | None, output: Path, given: dict[str, Any], *, as_json: bool) -> bool:
    """Write a trail to a file."""
    written = -1  # the last line is no record
    with writing(output) as file, counting("Exporting records") as watch:
        async with _store(given) as store:
            async for line in store.export(tenant, session_id=session):
                file.write(f"{line}\n")
                watch(1)
                written += 1
    if output != STANDARD:
        report(f"{written:,} records written to {output}.", as_json=as_json, records=written, file=str(output))
    return True


async def prune(before: datetime, given: dict[str, Any], *, as_json: bool) -> bool:
    """Drop bodies by the month, and print the months."""
    async with _store(given, MAINTENANCE_ROLE) as store:
        with waiting("Dropping bodies"):
            months = await store.drop_bodies(before=before.replace(tzinfo=UTC))
    report(f"Dropped the bodies of {_listed(months)}.", as_json=as_json, months=[f"{month:%Y-%m}" for month in months])
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


def _interrupted(path: Path) -> AuditVerification | None:
    if path.exists() and not path.is_file():
        raise ValidationError(f"{path}: must be a file")
    try:
        found = AuditVerification.model_validate_json(path.read_text("utf-8")) if path.exists() else None
    except (pydantic.ValidationError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path.name}: must hold how far a verification got") from error
    if found and found.next is None:
        raise ValidationError(f"{path.name}: must hold how far a verification got")
    return found


def _keep(path: Path, result: AuditVerification) -> None:
    """Keep how far a verification got, as long as it is not at its end."""
    if result.next is None:
        path.unlink(missing_ok=True)
    else:
        with writing(path) as file:
            file.write(result.model_dump_json())


def _show(result: AuditVerification, *, as_json: bool, err: bool) -> None:
    found = f"{result.records:,} records in {result.chains:,} chains and {result.bodies:,} bodies"
    lines = [f"{found} are as they were recorded."]
    if result.problem is not None:
        lines.insert(0, typer.style(described(plain(result.problem)), fg="red", bold=True))
    if result.months_dropped:
        lines.append(f"Bodies were dropped in {_listed(result.months_dropped)}.")
    if result.head is not None:
        lines.append(f"Head: {json.dumps(plain(result.head))}")
    report("\n".join(lines), as_json=as_json, err=err, ok=result.ok, **result.model_dump(mode="json"))


def _listed(months: Iterable[Any]) -> str:
    return ", ".join(f"{month:%Y-%m}" for month in months) or "no month"
