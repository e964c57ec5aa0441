"""PostgreSQL on a full disk: writes are refused and say so, reads go on, and what is repeated later succeeds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConnectionError
from convostore.models import Channel
from convostore.postgres import (
    PostgresAuditStore,
    PostgresConfigStore,
    PostgresMemoryStore,
    PostgresProfileStore,
    PostgresSessionStore,
    create_pool,
    migrate,
)
from convostore.testing.factories import make_episode, make_event, make_field, make_rule, make_session, make_turn
from tests.postgres.databases import connected, dsn_of
from tests.processes import private_directory

NAME = "full_disk"
SIZE = 48 << 20


class Disk:
    """A small file system that holds the tables of a database, but not the server's log."""

    def __init__(self, path: Path, dsn: str) -> None:
        self.dsn = dsn
        self._filling = path / "filling"

    def fill(self) -> None:
        with pytest.raises(OSError, match="No space left"):
            self._filling.write_bytes(bytes(SIZE))

    def free(self) -> None:
        self._filling.unlink(missing_ok=True)


@contextmanager
def mounted() -> Iterator[Path]:
    """A small file system of its own."""
    with private_directory() as path:
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(path)]
        done = subprocess.run(mounting, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system needs the right to mount one: {done.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
async def disk(engines: Embedded) -> AsyncIterator[Disk]:
    with mounted() as path:
        owner = os.stat(f"/proc/{engines.postgres_pid}")
        made, tables = Disk(path, dsn_of(engines.postgres_dsn, database=NAME)), path / "tables"
        tables.mkdir()
        os.chown(tables, owner.st_uid, owner.st_gid)
        async with connected(engines.postgres_dsn) as admin:
            await admin.execute(f"CREATE TABLESPACE {NAME} LOCATION '{tables}'")
            try:
                await admin.execute(f"CREATE DATABASE {NAME} TABLESPACE {NAME}")
                await migrate(made.dsn)
                yield made
            finally:
                made.free()
                await admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
                await admin.execute(f"DROP TABLESPACE {NAME}")


async def test_writes_are_refused_while_the_disk_is_full_and_succeed_afterwards(disk: Disk) -> None:
    tenant, agent = uuid4(), uuid4()
    async with await create_pool(disk.dsn, max_size=2) as pool:
        sessions, config, memory = PostgresSessionStore(pool), PostgresConfigStore(pool), PostgresMemoryStore(pool)
        audit, profiles = PostgresAuditStore(pool), PostgresProfileStore(pool)
        profile = await profiles.get_or_create(tenant, Channel.EMAIL, "ann@example.com")
        # Random text is not compressed, and too long for the space that is left in pages.
        text = os.urandom(200_000).hex()
        session = make_session(tenant, variables={"text": text})
        rule = make_rule(tenant, agent, action_text=text)
        episode = make_episode(tenant, agent, content=text)
        turn, event = make_turn(tenant, agent_response=text), make_event(tenant, event_data={"text": text})
        field = make_field("text", text)
        writes: dict[str, tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]] = {
            "session": (lambda: sessions.save(session), lambda: sessions.get(session.session_id)),
            "rule": (lambda: config.save_rule(rule), lambda: config.get_rule(tenant, rule.id)),
            "episode": (lambda: memory.add_episode(episode), lambda: memory.get_episode(tenant, episode.id)),
            "turn": (lambda: audit.save_turn(turn), lambda: audit.get_turn(tenant, turn.turn_id)),
            "event": (lambda: audit.save_event(event), lambda: audit.get_event(tenant, event.id)),
            "field": (lambda: profiles.update_field(tenant, profile.id, field), lambda: field_of(profiles, profile)),
        }
        disk.fill()
        for write, read in writes.values():
            with pytest.raises(ConnectionError) as refused:
                await write()
            error = refused.value
            assert (error.code, error.retryable, error.outcome) == ("53100", True, "not_applied")
            assert await read() is None
        disk.free()
        for write, read in writes.values():
            await write()
            assert await read() is not None
        assert (await audit.verify(tenant)).ok


async def field_of(profiles: PostgresProfileStore, profile: Any) -> UUID | None:
    found = await profiles.get_profile(profile.tenant_id, profile.id)
    assert found is not None
    return found.fields["text"].id if "text" in found.fields else None
