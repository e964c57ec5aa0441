"""What `open_stores` and `doctor` say where a pooler stands between and is not declared, or not as it is."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from convostore import open_stores
from convostore.cli.checks import pooler as looked_at
from convostore.cli.targets import Target
from convostore.embedded import Embedded
from convostore.errors import ConnectionError, StoreError, ValidationError
from convostore.postgres import PostgresConfigStore, create_pool, migrate
from convostore.postgres.driver import Pooler as Mode
from convostore.postgres.reindexing import reindex
from tests.pooler.conftest import LIMITS
from tests.pooler.pgbouncer import Pooler, pgbouncer

REFUSED = (
    "A pooler stands between and refuses a parameter; leave parameters of PostgreSQL out of the URL, and set "
    'pooler="transaction" (CONVOSTORE_POOLER), or "session" if it keeps a session for a connection.'
)
UNDECLARED = (
    'pooler: a pooler stands between; set pooler="transaction" (CONVOSTORE_POOLER), or "session" if it keeps a session '
    "for a connection"
)
WRONG_LOGIN = (
    "postgres_url: behind a pooler its user must be a member of convostore_app and of no other role, and no superuser; "
    "run: CREATE ROLE … LOGIN PASSWORD '…' IN ROLE convostore_app, and use that one"
)
NO_SESSION = 'The pooler in between keeps no session for a connection; set pooler="transaction" (CONVOSTORE_POOLER).'
UNKNOWN = "The pooler refused user, password or database; correct the URL, or add them to its auth_file and databases."
ITSELF = "postgres_url: a pooler stands between; this needs the URL of PostgreSQL itself"

IGNORED = "role,jit,tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,tcp_user_timeout"
"""What an administrator may let PgBouncer ignore: a connection then lacks what it asked for."""


async def refusal(url: str, engines: Embedded, mode: Mode | None = None) -> StoreError:
    """Return how opening the stores fails."""
    try:
        async with open_stores(postgres_url=url, redis_url=engines.redis_url, pooler=mode, sweep_every=0):
            raise AssertionError("they are open")
    except StoreError as error:
        return error


def told(error: StoreError) -> tuple[type, str, bool, str]:
    return type(error), str(error), error.retryable, error.outcome


async def test_a_pooler_that_is_not_declared(engines: Embedded, login: str, pooler: Pooler) -> None:
    error = await refusal(pooler.dsn(login), engines)
    assert told(error) == (ConnectionError, REFUSED, False, "not_applied")


async def test_a_parameter_in_the_url(engines: Embedded, login: str, pooler: Pooler) -> None:
    error = await refusal(f"{pooler.dsn(login)}&search_path=public", engines, pooler.mode)
    assert told(error) == (ConnectionError, REFUSED, False, "not_applied")


async def test_a_pooler_that_is_not_declared_and_ignores_parameters(engines: Embedded, login: str) -> None:
    async with pgbouncer(engines.postgres_dsn, "transaction", ignore_startup_parameters=IGNORED) as pooler:
        error = await refusal(pooler.dsn(login), engines)
    assert told(error) == (ValidationError, UNDECLARED, False, "not_applied")


async def test_an_application_s_own_pool_behind_a_pooler(by_session: Pooler, login: str) -> None:
    async with asyncpg.create_pool(by_session.dsn(login), min_size=0) as pool:
        with pytest.raises(ValidationError) as refused:
            await PostgresConfigStore(pool).get_agent(uuid4(), uuid4())
    assert told(refused.value) == (ValidationError, UNDECLARED, False, "not_applied")


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("options", ["SUPERUSER", "BYPASSRLS IN ROLE convostore_app"])
async def test_a_login_above_row_level_security(engines: Embedded, admin: Any, mode: Mode, options: str) -> None:
    await admin.execute(f"CREATE ROLE above LOGIN {options}")
    async with pgbouncer(engines.postgres_dsn, mode) as pooler:
        error = await refusal(pooler.dsn("above"), engines, mode)
    await admin.execute("DROP ROLE above")
    assert told(error) == (ValidationError, WRONG_LOGIN, False, "not_applied")


@pytest.mark.parametrize("more", ["convostore_owner", "convostore_maintenance", "convostore_search"])
async def test_a_login_with_more_than_the_role_of_the_application(
    engines: Embedded, by_transaction: Pooler, admin: Any, more: str
) -> None:
    login = f"pooled_{more}"
    await admin.execute(f"CREATE ROLE {login} LOGIN IN ROLE convostore_app, {more}")
    await admin.execute(f"ALTER ROLE {login} SET role = 'convostore_app'")  # which somebody may reset on a session
    error = await refusal(by_transaction.dsn(login), engines, "transaction")
    await admin.execute(f"DROP ROLE {login}")
    assert told(error) == (ValidationError, WRONG_LOGIN, False, "not_applied")


async def test_a_user_that_the_pooler_does_not_know(engines: Embedded, pooler: Pooler) -> None:
    error = await refusal(pooler.dsn("stranger"), engines, pooler.mode)
    assert told(error) == (ConnectionError, UNKNOWN, False, "not_applied")


async def test_a_database_that_the_pooler_does_not_know(engines: Embedded, login: str) -> None:
    async with pgbouncer(engines.postgres_dsn, "transaction", "postgres") as pooler:
        error = await refusal(pooler.dsn(login), engines, "transaction")
    assert told(error) == (ConnectionError, UNKNOWN, False, "not_applied")


async def test_a_pooler_without_connections_for_its_clients(engines: Embedded, login: str) -> None:
    async with pgbouncer(engines.postgres_dsn, "transaction", max_client_conn=0) as pooler:
        error = await refusal(pooler.dsn(login), engines, "transaction")
    said = "The pooler has no connection left; lower pool_size or raise its max_client_conn."
    assert told(error) == (ConnectionError, said, True, "not_applied")


async def test_a_pooler_whose_sessions_are_all_taken(engines: Embedded, login: str) -> None:
    async with (
        pgbouncer(engines.postgres_dsn, "transaction", default_pool_size=1, query_wait_timeout=1) as pooler,
        await create_pool(pooler.dsn(login), pooler="transaction", max_size=2) as pool,
        pool.acquire() as taken,
        taken.transaction(),
    ):
        await taken.fetchval("SELECT 1")
        with pytest.raises(ConnectionError) as refused:
            await PostgresConfigStore(pool).within(4).get_agent(uuid4(), uuid4())
    said = "The pooler found no free connection to PostgreSQL in time; raise its default_pool_size."
    assert (str(refused.value), refused.value.retryable) == (said, True)


async def test_a_pooler_that_keeps_no_session_although_it_is_said_to(engines: Embedded, login: str) -> None:
    async with (
        pgbouncer(engines.postgres_dsn, "transaction", default_pool_size=2) as pooler,
        await create_pool(pooler.dsn(login), pooler="session", max_size=10) as pool,
    ):
        store = PostgresConfigStore(pool)
        calls = (store.get_agent(uuid4(), uuid4()) for _ in range(1_000))
        failures = [each for each in await asyncio.gather(*calls, return_exceptions=True) if each is not None]
    assert failures
    for failure in failures:
        assert isinstance(failure, StoreError)
        assert told(failure) == (ConnectionError, NO_SESSION, False, "not_applied")


async def test_a_migration_and_an_index_need_the_server_itself(pooler: Pooler, admin: Any) -> None:
    await admin.execute("CREATE DATABASE unmigrated")
    with pytest.raises(ValidationError) as refused:
        await migrate(pooler.dsn("postgres", "unmigrated"))
    assert str(refused.value) == ITSELF
    with pytest.raises(ValidationError) as refused:
        await reindex(pooler.dsn("postgres", "unmigrated"))
    assert str(refused.value) == ITSELF
    await admin.execute("DROP DATABASE unmigrated WITH (FORCE)")


ONE = "one in {mode} mode stands between"
DOCTOR: dict[tuple[str, Mode | None], str] = {
    ("none", None): "none stands between",
    ("none", "session"): 'none stands between; leave pooler="session" (CONVOSTORE_POOLER) away',
    ("none", "transaction"): 'none stands between; leave pooler="transaction" (CONVOSTORE_POOLER) away',
    ("session", None): 'one in session mode stands between; set pooler="session" (CONVOSTORE_POOLER=session)',
    ("session", "session"): "one in session mode stands between",
    ("session", "transaction"): (
        'one in session mode stands between; pooler="session" caches statements, which saves round trips'
    ),
    ("transaction", None): (
        'one in transaction mode stands between; set pooler="transaction" (CONVOSTORE_POOLER=transaction)'
    ),
    ("transaction", "session"): (
        'one in transaction mode stands between; set pooler="transaction" (CONVOSTORE_POOLER=transaction)'
    ),
    ("transaction", "transaction"): "one in transaction mode stands between",
}
"""What the doctor says, by what stands between and what is declared."""


@pytest.fixture
def url(engines: Embedded, login: str, between: str, request: pytest.FixtureRequest) -> str:
    """The URL of the server, or by way of what stands between."""
    return engines.postgres_dsn if between == "none" else request.getfixturevalue(f"by_{between}").dsn(login)


@pytest.mark.parametrize(("between", "declared"), DOCTOR)
async def test_the_doctor_says_what_stands_between_and_what_to_set(
    engines: Embedded, url: str, between: str, declared: Mode | None
) -> None:
    try:
        said = await looked_at(Target(url, engines.redis_url, 10, declared))
    except ValidationError as problem:
        said = str(problem)
    assert said == DOCTOR[between, declared]


async def test_the_doctor_gives_the_statements_for_settings_that_the_login_lacks(
    engines: Embedded, by_transaction: Pooler, admin: Any
) -> None:
    await admin.execute("CREATE ROLE bare LOGIN IN ROLE convostore_app")
    with pytest.raises(ValidationError) as doubt:
        await looked_at(Target(by_transaction.dsn("bare"), engines.redis_url, 10, "transaction"))
    wanted = "; ".join(f"ALTER ROLE bare SET {name} = '{value}'" for name, value in LIMITS.items())
    said = f"one in transaction mode stands between, and its connections lack settings; run: {wanted}"
    assert str(doubt.value) == said
    for statement in wanted.split("; "):
        await admin.execute(statement)
    async with pgbouncer(engines.postgres_dsn, "transaction") as fresh:
        told = await looked_at(Target(fresh.dsn("bare"), engines.redis_url, 10, "transaction"))
    assert told == "one in transaction mode stands between"
