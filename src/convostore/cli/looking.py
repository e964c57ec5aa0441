"""Opens the stores to look at what they keep: as a role that only reads, and content masked unless it is revealed."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asyncpg import Pool

from convostore.cli.output import MASKED
from convostore.cli.progress import waiting
from convostore.errors import StoreError, ValidationError
from convostore.models import AuditEvent
from convostore.opening import server_urls
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
    schema_version,
)
from convostore.postgres.migrations import HEAD, VERSIONS
from convostore.postgres.overview import Overview
from convostore.postgres.pool import APPLICATION_ROLE, READER_ROLE
from convostore.redis import create_client
from convostore.settings import Settings, load_settings
from convostore.stores import Stores
from convostore.tiered.copies import HotCopies

REVEALED = "content_revealed"
"""The type of the audit event that says who had content shown."""


@dataclass(frozen=True)
class Looking:
    """The stores as an operator sees them.

    Attributes:
        stores: on the system of record; nothing is promoted by looking.
        overview: looks across them.
        hot: the hot copies of sessions.
        revealed: whether content is shown.
    """

    stores: Stores
    overview: Overview
    hot: HotCopies
    revealed: bool
    _dsn: str

    def content(self, value: Any) -> Any:
        """Return content, or what stands for it."""
        return value if self.revealed else MASKED

    async def note(self, view: str, tenant_id: UUID, *, about: UUID, customer: UUID | None = None) -> None:
        """Record that content is about to be shown, if it is.

        Args:
            view: the command.
            tenant_id: the tenant.
            about: the session, profile or agent.
            customer: the profile of the customer concerned.
        """
        if not self.revealed:
            return
        data: dict[str, Any] = {"view": view, "about": str(about), "by": _user(), "login": await self.overview.login()}
        event = AuditEvent(tenant_id=tenant_id, event_type=REVEALED, event_data=data, customer_profile_id=customer)
        async with await create_pool(self._dsn, max_size=1) as pool:
            with _allowed(APPLICATION_ROLE, "reveal: takes a user who may record it"):
                await PostgresAuditStore(pool).save_event(event)


@asynccontextmanager
async def looking(given: dict[str, Any], *, reveal: bool = False) -> AsyncIterator[Looking]:
    """Open the stores as the role `convostore_reader`.

    Args:
        given: settings.
        reveal: whether content is shown, which is recorded.

    Raises:
        StoreError: as `reading`.
    """
    settings = load_settings(given)
    async with AsyncExitStack() as stack:
        with waiting("Starting or reaching the servers"):
            dsn, redis_url = await server_urls(settings, stack)
        pool = await stack.enter_async_context(reading(dsn, settings))
        client = await stack.enter_async_context(create_client(redis_url, max_connections=4))
        timeout, language = settings.timeout, settings.language
        yield Looking(
            stores=Stores(
                sessions=PostgresSessionStore(pool, timeout=timeout, sessions_by_tenant=settings.sessions_by_tenant),
                config=PostgresConfigStore(pool, timeout=timeout, language=language),
                memory=PostgresMemoryStore(pool, timeout=timeout, language=language),
                audit=PostgresAuditStore(pool, timeout=timeout),
                profiles=PostgresProfileStore(pool, timeout=timeout),
            ),
            overview=Overview(pool),
            hot=HotCopies(client, by_tenant=settings.sessions_by_tenant),
            revealed=reveal,
            _dsn=dsn,
        )


@asynccontextmanager
async def reading(dsn: str, settings: Settings) -> AsyncIterator[Pool[Any]]:
    """Open a pool of connections as the role `convostore_reader`. The schema is not migrated.

    Raises:
        ValidationError: the schema is of another version than this release's, or the user of the URL may not read.
        ConnectionError: the server cannot be reached.
    """
    version = await schema_version(dsn)
    if version != HEAD and version in VERSIONS:
        raise ValidationError(f"The schema is at {version}, this release works with {HEAD}; run: convostore migrate")
    async with await create_pool(dsn, max_size=4, role=READER_ROLE, pooler=settings.pooler) as pool:
        with _allowed(READER_ROLE, "postgres_url: its user may not look"):
            await Overview(pool).login()
        yield pool


@contextmanager
def _allowed(role: str, otherwise: str) -> Iterator[None]:
    """Name the role that the user of the URL lacks."""
    try:
        yield
    except StoreError as error:
        if error.code != "42501":
            raise
        raise ValidationError(f"{otherwise}; run: GRANT {role} TO it") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody has this number, as in a container
        return str(os.getuid())
