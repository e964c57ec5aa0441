"""`convostore doctor`: checks servers, versions and privileges, and names the remedy for each problem."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from convostore.call.translation import UNANSWERED
from convostore.cli.checks import CHECKS
from convostore.cli.progress import waiting
from convostore.cli.targets import Check, DoubtfulError, Target
from convostore.engines import postgres_engine, redis_engine
from convostore.opening import server_urls
from convostore.postgres.errors import translated
from convostore.settings import load_settings

Status: TypeAlias = Literal["ok", "doubtful", "failed", "skipped"]
_MARKS: dict[Status, str] = {
    "ok": "[green]✓[/]",
    "doubtful": "[yellow]![/]",
    "failed": "[red]✗[/]",
    "skipped": "[dim]-[/]",
}


@dataclass(frozen=True)
class Finding:
    """What a check found, or what is wrong and what mends it."""

    subject: str
    status: Status
    detail: str


async def run(console: Console, given: dict[str, Any], *, as_json: bool = False, timeout: float = 10.0) -> bool:
    """Run all checks, print their results, and return whether none failed.

    Args:
        console: where to print.
        given: settings.
        as_json: whether to print JSON.
        timeout: of each check, in seconds.
    """
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        with waiting("Starting or reaching the servers"):
            postgres_url, redis_url = await server_urls(settings, stack)
        engines = {
            "postgres": postgres_engine(postgres_url, embedded=settings.postgres_url is None, pooler=settings.pooler),
            "redis": redis_engine(redis_url, embedded=settings.redis_url is None),
        }
        if not as_json:
            _print(console, "[dim]·[/]", "PostgreSQL", engines["postgres"])
            _print(console, "[dim]·[/]", "Redis or Valkey", engines["redis"])
        findings = []
        target = Target(postgres_url, redis_url, settings.pool_size, settings.pooler, settings.max_age)
        async for finding in _found(target, timeout):
            findings.append(finding)
            if not as_json:
                _print(console, _MARKS[finding.status], finding.subject, finding.detail)
    ok = all(finding.status != "failed" for finding in findings)
    if as_json:
        listed = {name: asdict(engine) for name, engine in engines.items()}
        typer.echo(json.dumps({"ok": ok, "engines": listed, "findings": [asdict(each) for each in findings]}, indent=1))
    else:
        counts = Counter(finding.status for finding in findings)
        console.print(f"\n{len(findings)} checks: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    return ok


def _print(console: Console, mark: str, subject: str, detail: object) -> None:
    line = Table.grid(padding=(0, 1))
    line.add_row(mark, f"{subject}: {escape(str(detail))}")
    console.print(line)


async def _found(target: Target, timeout: float) -> AsyncIterator[Finding]:
    """Yield what each check finds; what depends on something broken is skipped, not blamed."""
    broken = set[str]()
    for check in CHECKS:
        if missing := [subject for subject in check.needs if subject in broken]:
            finding = Finding(check.subject, "skipped", f"needs {missing[0]}")
        else:
            finding = await examined(check, target, timeout)
        if finding.status in ("failed", "skipped"):
            broken.add(check.subject)
        yield finding


async def examined(check: Check, target: Target, timeout: float = 10.0) -> Finding:
    """Return what one check finds."""
    try:
        async with asyncio.timeout(timeout):
            return Finding(check.subject, "ok", await check.look(target))
    except DoubtfulError as doubt:
        return Finding(check.subject, "doubtful", str(doubt))
    except TimeoutError:
        return Finding(check.subject, "failed", UNANSWERED)
    except Exception as error:  # noqa: BLE001  (whatever a driver raises is what was found)
        return Finding(check.subject, "failed", str(translated(error)))
