"""A connection of an application's own pool is fit for the stores, or refused by name before anything is written."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from convostore.embedded import Embedded
from convostore.errors import ValidationError
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.testing.factories import make_agent
from tests.postgres.databases import connected, dsn_of

ROLE = {"role": "convostore_app"}

CODECS: dict[str, dict[str, Any]] = {
    "jsonb": {"encoder": json.dumps, "decoder": json.loads},
    "uuid": {"encoder": str, "decoder": str},
    "timestamptz": {"encoder": datetime.isoformat, "decoder": str},
    "int8": {"encoder": str, "decoder": str},
    "bytea": {"encoder": lambda value: "\\x" + value.hex(), "decoder": str},
    "float8": {"encoder": str, "decoder": str},
    "bool": {"encoder": str, "decoder": str},
    "text": {"encoder": str, "decoder": str.upper},
}


def with_codec(kind: str) -> Any:
    async def init(connection: Any) -> None:
        await connection.set_type_codec(kind, schema="pg_catalog", format="text", **CODECS[kind])

    return init


@pytest.mark.parametrize("kind", CODECS)
async def test_a_codec_that_changes_values_is_refused_by_name(engines: Embedded, kind: str) -> None:
    agent = make_agent(uuid4())
    async with asyncpg.create_pool(
        engines.postgres_dsn, init=with_codec(kind), min_size=0, server_settings=ROLE
    ) as pool:
        store = PostgresConfigStore(pool)
        with pytest.raises(ValidationError, match="codec") as caught:
            await store.save_agent(agent)
        assert (caught.value.outcome, caught.value.retryable) == ("not_applied", False)
    async with await create_pool(engines.postgres_dsn) as pool:
        assert await PostgresConfigStore(pool).get_agent(agent.tenant_id, agent.id) is None


async def test_a_codec_that_changes_nothing_is_welcome_and_stays(engines: Embedded) -> None:
    async def init(connection: Any) -> None:
        await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=UUID)
        await connection.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)

    agent = make_agent(uuid4(), metadata={"a": [1]})
    async with asyncpg.create_pool(engines.postgres_dsn, init=init, min_size=0, server_settings=ROLE) as pool:
        store = PostgresConfigStore(pool)
        await store.save_agent(agent)
        assert await store.get_agent(agent.tenant_id, agent.id) == agent
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT $1::json", {"b": 2}) == {"b": 2}


async def use(dsn: str) -> None:
    await migrate(dsn)
    async with await create_pool(dsn) as pool:
        await PostgresConfigStore(pool).save_agent(make_agent(uuid4()))


@pytest.mark.parametrize(("options", "said"), [("ENCODING 'LATIN1' LOCALE 'C'", "LATIN1"), ("LOCALE 'C'", "LC_CTYPE")])
async def test_a_database_that_cannot_hold_or_fold_every_letter_is_refused(
    engines: Embedded, options: str, said: str
) -> None:
    name = f"other_{uuid4().hex}"
    async with connected(engines.postgres_dsn) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER libc {options}")
        try:
            dsn = dsn_of(engines.postgres_dsn, database=name)
            with pytest.raises(ValidationError, match=said):
                await use(dsn)
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
