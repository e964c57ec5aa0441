"""The commands that the store sends: none unbounded, none that a cluster refuses, and no more than documented."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from convostore.contracts import SessionStore
from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.models import Session, SessionStatus
from convostore.redis import RedisSessionStore, create_client
from convostore.testing import SessionStoreContract
from convostore.testing.factories import full_session, make_visit
from tests.redis.administration import all_keys
from tests.redis.monitoring import Command, Monitor, monitoring

pytestmark = pytest.mark.slow

SCRIPTS = {
    f"{package}/{file.name}": file.read_text("utf-8")
    for package in ("convostore.redis", "convostore.tiered")
    for file in files(package).joinpath("lua").iterdir()
}

DIRECT = {
    "GET",
    "ZADD",
    "ZRANGE",
    "ZREVRANGEBYSCORE",
    "ZREM",
    "EVALSHA",
    "EVAL",
    "PING",
    "INFO",
}
"""All commands that the store sends itself."""

SCRIPTED = {
    "EXISTS",
    "GET",
    "INCR",
    "ZRANGEBYSCORE",
    "GETRANGE",
    "SET",
    "DEL",
    "ZADD",
    "ZREM",
    "ZSCORE",
    "TIME",
    "ZCOUNT",
    "ZRANGE",
}
"""All commands that its scripts run."""

CONNECTING = {"CLIENT", "SELECT", "HELLO", "AUTH"}
"""Commands that the driver sends when it connects."""


@pytest.fixture
async def monitor(engines: Embedded, client: Redis) -> AsyncIterator[Monitor]:
    """Monitors the test's database."""
    async with monitoring(client, engines.redis_url.removeprefix("unix://"), 9) as opened:
        yield opened


def look_at(commands: list[Command]) -> None:
    """Check commands one by one, and each script together with what it runs."""
    slot = None
    for command in commands:
        if command.by_script:
            assert command.name in SCRIPTED
            assert command.name == "TIME" or key_slot(command.arguments[0].encode()) == slot, command
        elif command.name not in CONNECTING:
            assert command.name in DIRECT
            if command.name in ("EVALSHA", "EVAL"):
                assert command.arguments[1] == "1", "one key is declared; the others are computed in its slot"
                slot = key_slot(command.arguments[2].encode())


class TestTheContractUsesAllowedCommandsOnly(SessionStoreContract):
    """The contract suite of sessions, monitored."""

    @pytest.fixture
    async def store(self, engines: Embedded, client: Redis, monitor: Monitor) -> AsyncIterator[SessionStore]:
        async with create_client(f"{engines.redis_url}?db=9") as monitored:
            yield RedisSessionStore(monitored)
            look_at(await monitor.seen())


def kinds(store: RedisSessionStore, session: Session) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return a call of each kind."""
    tenant, last = session.tenant_id, session.step_history[-1]
    assert session.customer_profile_id is not None
    assert session.active_scenario_id is not None
    identity = session.channel, session.user_channel_id
    customer, scenario = session.customer_profile_id, session.active_scenario_id

    async def refused() -> None:
        with pytest.raises(ConflictError):
            await store.save(session.model_copy(update={"revision": 0}))

    async def close() -> UUID:
        return await store.save(session.model_copy(update={"status": SessionStatus.CLOSED}))

    return {
        "get": lambda: store.get(session.session_id),
        "save": lambda: store.save(session),
        "refused": refused,
        "by_channel": lambda: store.get_by_channel(tenant, session.channel, session.user_channel_id),
        "by_agent": lambda: store.list_by_agent(tenant, session.agent_id),
        "by_customer": lambda: store.list_by_customer(tenant, customer),
        "by_step": lambda: store.find_sessions_by_step_hash(tenant, scenario, 3, last.step_content_hash or ""),
        "get_or_create": lambda: store.get_or_create(tenant, session.agent_id, *identity),
        "create": lambda: store.get_or_create(tenant, session.agent_id, session.channel, "new"),
        "create beside another agent's": lambda: store.get_or_create(tenant, uuid4(), *identity),
        "demote": lambda: store.demote_to_persistent(session.session_id),
        "promote": lambda: store.promote_to_hot(session.session_id),
        "close": close,
        "delete": lambda: store.delete(session.session_id),
    }


@pytest.fixture
async def session(store: RedisSessionStore) -> Session:
    """A stored session that is in every index; each script is loaded."""
    session = full_session(uuid4())
    session.status = SessionStatus.ACTIVE
    session.step_history.append(make_visit(step_content_hash="here"))
    await store.save(session)
    await store.demote_to_persistent(session.session_id)
    await store.promote_to_hot(session.session_id)
    await store.list_by_agent(session.tenant_id, session.agent_id)
    await store.delete(session.session_id)
    session.revision = 0
    await store.save(session)
    await store.get_or_create(session.tenant_id, session.agent_id, session.channel, session.user_channel_id)
    return session


async def commands_of(monitor: Monitor, call: Callable[[], Awaitable[Any]]) -> list[str]:
    """Return the names of the commands that a call sends."""
    await monitor.seen()
    assert await call() is not False
    return [command.name for command in await monitor.seen() if not command.by_script]


async def test_each_call_sends_these_commands(store: RedisSessionStore, session: Session, monitor: Monitor) -> None:
    sent = {name: await commands_of(monitor, call) for name, call in kinds(store, session).items()}
    assert sent == {
        "get": ["GET"],
        "save": ["ZADD", "EVALSHA"],
        "refused": ["ZADD", "EVALSHA", "EVALSHA"],
        "by_channel": ["ZRANGE", "ZRANGE", "GET"],
        "by_agent": ["EVALSHA"] * 64 + ["GET"],
        "by_customer": ["EVALSHA"] * 64 + ["GET"],
        "by_step": ["EVALSHA"] * 64 + ["GET"],
        "get_or_create": ["EVALSHA", "GET"],
        "create": ["EVALSHA", "ZADD", "EVALSHA"],
        "create beside another agent's": ["EVALSHA", "ZADD", "EVALSHA"],
        "demote": ["GET", "EVALSHA"],
        "promote": ["GET", "EVALSHA"],
        "close": ["ZADD", "EVALSHA", "EVALSHA"],
        "delete": ["EVALSHA", "EVALSHA"],
    }


async def test_a_session_and_its_indexes_share_a_slot_and_its_channel_pointers_another(
    client: Redis, session: Session
) -> None:
    slots: dict[str, set[int]] = {"session": set(), "pointer": set()}
    for key in await all_keys(client):
        slots["pointer" if key.endswith((b":open", b":closed")) else "session"].add(key_slot(key))
    assert [len(found) for found in slots.values()] == [1, 1]


async def test_keys_contain_free_text_only_as_a_hash(client: Redis, session: Session) -> None:
    for key in await all_keys(client):
        assert re.fullmatch(rb"[a-z0-9:{}-]+", key), key
        assert len(key) < 200


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_has_a_header_that_documents_its_keys_arguments_and_result(text: str) -> None:
    first, second, *_ = text.splitlines()
    assert first in ("#!lua", "#!lua flags=allow-oom", "#!lua flags=no-writes")
    assert re.fullmatch(r"-- [A-Z].+", second)
    for kind in ("KEYS", "ARGV"):
        used = [int(number) for number in re.findall(rf"{kind}\[(\d+)\]", text.partition("\nlocal ")[2])]
        for number in range(1, max(used) + 1):
            assert f"-- {kind}[{number}] " in text, number
    assert re.search(r"^-- Returns ", text, re.MULTILINE)
    assert "cjson" not in text


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name.startswith("convostore.redis")])
def test_a_script_of_the_session_store_declares_one_key_and_computes_the_others(name: str) -> None:
    assert "KEYS[2]" not in SCRIPTS[name]


@pytest.mark.parametrize("name", ["read", "evict"])
def test_a_script_that_at_most_frees_memory_runs_on_a_full_server(name: str) -> None:
    text = SCRIPTS[f"convostore.tiered/{name}.lua"]
    assert text.startswith("#!lua flags=allow-oom\n")
    assert not re.search(r"'(SET|APPEND|ZADD|SADD|HSET)'", text)
