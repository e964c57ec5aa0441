"""`convostore inspect`: what an operator sees, what is masked, and that nothing is changed by looking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner, Result

from convostore.cli.app import app
from convostore.cli.looking import REVEALED
from convostore.embedded import Embedded
from convostore.models import Agent, Channel, ProfileField, ProfileFieldSource, Session
from convostore.models.fields import now
from convostore.opening import open_stores
from convostore.postgres import PostgresAuditStore, create_pool, schema_version
from convostore.postgres.pool import READER_ROLE
from convostore.stores import Stores
from convostore.testing.factories import make_agent, make_episode, make_event, make_session, make_turn, make_visit
from tests.postgres.databases import connected, fresh_database, fresh_user
from tests.postgres.test_audit_tampering import ALTERATIONS, Trail

SECRET = "canary-7351"


@dataclass
class World:
    """A tenant with a conversation."""

    stores: Stores
    agent: Agent
    session: Session
    profile_id: UUID
    tenant: UUID


def told(name: str, value: str) -> ProfileField:
    return ProfileField(name=name, value=value, value_type="string", source=ProfileFieldSource.USER_PROVIDED)


@pytest.fixture(scope="module")
async def world(engines: Embedded) -> AsyncIterator[World]:
    """A tenant on the shared engines, whose every content is the canary."""
    async with open_stores(postgres_url=engines.postgres_dsn, redis_url=engines.redis_url, sweep_every=0) as stores:
        tenant = uuid4()
        agent = make_agent(tenant, name="desk", system_prompt=SECRET)
        await stores.config.save_agent(agent)
        profile = await stores.profiles.get_or_create(tenant, Channel.EMAIL, f"{SECRET}@example.com")
        await stores.profiles.update_field(tenant, profile.id, told("city", f"{SECRET} one"))
        await stores.profiles.update_field(tenant, profile.id, told("city", f"{SECRET} two"))
        session = make_session(
            tenant,
            agent_id=agent.id,
            channel=Channel.EMAIL,
            user_channel_id=f"{SECRET}@example.com",
            customer_profile_id=profile.id,
            step_history=[make_visit(step_name="greeting")],
            variables={"mood": SECRET},
        )
        await stores.sessions.save(session)
        for number in range(3):
            await stores.audit.save_turn(
                make_turn(
                    tenant,
                    session_id=session.session_id,
                    customer_profile_id=profile.id,
                    turn_number=number,
                    user_message=f"{SECRET} asks",
                    agent_response=SECRET,
                    timestamp=now() - timedelta(minutes=9 - number),
                )
            )
        await stores.audit.save_event(make_event(tenant, event_type="escalated", customer_profile_id=profile.id))
        await stores.memory.add_episode(
            make_episode(tenant, agent.id, content=f"{SECRET} likes tea", embedding=[1.0, 0.0, 0.0])
        )
        yield World(stores, agent, session, profile.id, tenant)


Invoke: TypeAlias = Callable[..., Any]
Look: TypeAlias = Callable[..., Any]


@pytest.fixture
def invoke(engines: Embedded) -> Invoke:
    """Run a command on the shared engines, in a thread; return its result."""

    async def invoked(*arguments: object, **variables: str) -> Result:
        environment = {
            "CONVOSTORE_POSTGRES_URL": engines.postgres_dsn,
            "CONVOSTORE_REDIS_URL": engines.redis_url,
            **variables,
        }
        return await asyncio.to_thread(CliRunner().invoke, app, [*map(str, arguments)], env=environment)

    return invoked


@pytest.fixture
def look(invoke: Invoke) -> Look:
    """Run `inspect` as a program does; return the JSON."""

    async def looked(*arguments: object) -> Any:
        result = await invoke("inspect", *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return looked


async def test_tenants_are_listed_page_by_page(world: World, look: Look) -> None:
    found: list[Any] = []
    after: list[str] = []
    while True:
        page = await look("tenants", "--limit", 1_000 if not after else 1, *after)
        found += page["tenants"]
        if page["after"] is None:
            break
        after = ["--after", page["after"]]
    (own,) = [row for row in found if row["tenant"] == str(world.tenant)]
    assert (own["agents"], own["latest_turn"] is not None) == (1, True)


async def test_agents_and_sessions_say_where_they_stand(world: World, look: Look) -> None:
    (agent,) = (await look("agents", world.tenant))["agents"]
    assert (agent["name"], agent["revision"], agent["id"]) == ("desk", 1, str(world.agent.id))
    id_ = world.session.session_id
    await world.stores.sessions.promote_to_hot(id_, tenant_id=world.tenant)
    for arguments in (("--agent", world.agent.id), ("--customer", world.profile_id)):
        (row,) = (await look("sessions", world.tenant, *arguments))["sessions"]
        assert (row["session_id"], row["tier"], row["locked"], row["revision"], row["step"]) == (
            *(str(id_), "hot", False, world.session.revision),
            "greeting",
        )
    assert await world.stores.sessions.demote_to_persistent(id_, tenant_id=world.tenant)
    async with world.stores.sessions.lock(id_, tenant_id=world.tenant) as token:
        session = (await look("session", world.tenant, id_))["session"]
    assert (session["tier"], session["locked"], session["fence"]) == ("persistent", True, token)
    # Looking has promoted nothing.
    assert not await world.stores.sessions.demote_to_persistent(id_, tenant_id=world.tenant)


async def test_a_page_for_people_ends_with_how_to_go_on(world: World, invoke: Invoke) -> None:
    first = await invoke("inspect", "tenants", "--limit", 1)
    more = first.stdout.splitlines()[-1].removeprefix("More: ").split()
    assert (await invoke("inspect", "tenants", *more)).exit_code == 0
    turns = ("inspect", "turns", world.tenant, world.session.session_id)
    more = (await invoke(*turns, "--limit", 2)).stdout.splitlines()[-1].removeprefix("More: ").split()
    assert "\n     2  " in (await invoke(*turns, *more)).stdout


async def test_a_list_goes_on_behind_its_cursor(world: World, look: Look, invoke: Invoke) -> None:
    seen: list[int] = []
    after: list[str] = []
    while True:
        page = await look("turns", world.tenant, world.session.session_id, "--limit", 2, *after)
        seen += [turn["number"] for turn in page["turns"]]
        if page["after"] is None:
            break
        after = ["--after", page["after"]]
    assert seen == [0, 1, 2]
    result = await invoke("inspect", "turns", world.tenant, world.session.session_id, "--after", "nonsense")
    assert (result.exit_code, result.stderr) == (2, "convostore: after: is no cursor of this list\n")


async def test_turns_are_marked_by_their_chain(invoke: Invoke, look: Look, engines: Embedded) -> None:
    async with await create_pool(engines.postgres_dsn) as pool, connected(engines.postgres_dsn) as admin:
        trail = Trail(PostgresAuditStore(pool), admin)
        await trail.fill()
        turns = await look("turns", trail.tenant, trail.session)
        assert [turn["mark"] for turn in turns["turns"]] == ["verified"] * 6
        assert turns["verification"] == {"chain": "intact", "records": 6}
        await trail.alter(ALTERATIONS["a changed text"][1])
        result = await invoke("inspect", "turns", trail.tenant, trail.session, "--json")
    broken = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [turn["mark"] for turn in broken["turns"]] == [*["verified"] * 2, "broken", *["unverified"] * 3]
    assert broken["verification"]["chain"] == "body_changed"


async def test_a_timeline_has_everything_newest_first_page_by_page(world: World, look: Look) -> None:
    whole = (await look("timeline", world.tenant, world.profile_id))["timeline"]
    kinds = [(entry["kind"], entry["what"]) for entry in whole if entry["what"] != REVEALED]
    assert kinds == [
        ("event", "escalated"),
        ("session", "email, active, 0 turns"),
        *(("turn", f"turn {number}") for number in (2, 1, 0)),
    ]
    pages: list[Any] = []
    after: list[str] = []
    while True:
        page = await look("timeline", world.tenant, f"email:{SECRET}@example.com", "--limit", 2, *after)
        pages += page["timeline"]
        if page["after"] is None:
            break
        after = ["--after", page["after"]]
    assert pages == whole


async def test_a_profile_is_shown_with_the_history_of_its_fields(world: World, look: Look) -> None:
    (listed,) = (await look("profiles", world.tenant))["profiles"]
    shown = await look("profile", world.tenant, listed["customer_id"])
    assert shown == await look("profile", world.tenant, world.profile_id)
    assert [(row["name"], row["status"], row["source"]) for row in shown["fields"]] == [
        ("city", "active", "user_provided"),
        ("city", "superseded", "user_provided"),
    ]


async def test_a_search_shows_the_parts_of_each_score(world: World, look: Look) -> None:
    (hit,) = (await look("memory", world.tenant, world.agent.id, "who likes tea?"))["episodes"]
    assert (hit["rank"], hit["text_part"], hit["vector_part"], hit["score"]) == (1, 1.0, 0.0, 1.0)
    embedder = ("--embedder", f"{__name__}:embedded")
    (hit,) = (await look("memory", world.tenant, world.agent.id, "tea", *embedder))["episodes"]
    assert (hit["text_part"], hit["vector_part"], hit["vector_score"]) == (0.5, 0.5, 1.0)


def embedded(texts: list[str]) -> list[list[float]]:
    """Return the vector of the episode for every text."""
    return [[1.0, 0.0, 0.0] for _ in texts]


def views(world: World) -> dict[str, list[object]]:
    """Return every view of a tenant that shows content, with what it is about."""
    session = world.session.session_id
    return {
        "sessions": [world.tenant, "--agent", world.agent.id],
        "session": [world.tenant, session],
        "turns": [world.tenant, session],
        "timeline": [world.tenant, world.profile_id],
        "profile": [world.tenant, world.profile_id],
        "memory": [world.tenant, world.agent.id, "tea"],
    }


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
async def test_content_is_masked_unless_it_is_revealed_which_is_recorded(
    world: World, invoke: Invoke, form: list[str]
) -> None:
    for view, arguments in views(world).items():
        events = await world.stores.audit.list_events(world.tenant, event_type=REVEALED)
        masked = await invoke("inspect", view, *arguments, *form)
        assert masked.exit_code == 0, masked.stderr
        assert SECRET not in masked.stdout, view
        assert await world.stores.audit.list_events(world.tenant, event_type=REVEALED) == events
        shown = await invoke("inspect", view, *arguments, "--reveal", *form)
        assert SECRET in shown.stdout, view
        recorded, *before = await world.stores.audit.list_events(world.tenant, event_type=REVEALED)
        assert before == events
        assert {"view": view, "about": str(arguments[-2 if view == "memory" else -1])}.items() <= (
            recorded.event_data.items()
        )
        assert {*recorded.event_data} == {"view", "about", "by", "login"}


async def test_what_is_not_there_is_an_error_in_one_line_and_nothing_is_recorded(world: World, invoke: Invoke) -> None:
    stranger = uuid4()
    for arguments, code, said in (
        (("session", stranger, world.session.session_id), 1, "The tenant has no such session."),
        (("profile", stranger, world.profile_id), 1, "The tenant has no such profile."),
        (("profile", world.tenant, "pigeon:7"), 2, "profile: pigeon is no channel"),
        (("profile", world.tenant, "ann"), 2, "profile: is neither an id nor an identity"),
        (("sessions", world.tenant), 2, "sessions: take --agent"),
        (("timeline", world.tenant, world.profile_id, "--after", "WzEsMiwzXQ"), 2, "after: is no cursor"),
    ):
        result = await invoke("inspect", *arguments, *(["--reveal"] if arguments[0] != "sessions" else []))
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith(f"convostore: {said}")
    assert await world.stores.audit.list_events(stranger) == []
    for view in ("agents", "profiles"):
        assert "no " in (await invoke("inspect", view, stranger)).stdout


async def test_whoever_may_only_read_looks_and_cannot_reveal(world: World, engines: Embedded, invoke: Invoke) -> None:
    async with fresh_user(engines.postgres_dsn, f"IN ROLE {READER_ROLE}") as dsn:
        reader = {"CONVOSTORE_POSTGRES_URL": dsn}
        looked: dict[str, list[object]] = {"tenants": [], "agents": [world.tenant], **views(world)}
        for view, arguments in looked.items():
            result = await invoke("inspect", view, *arguments, **reader)
            assert result.exit_code == 0, (view, result.stderr)
        refused = await invoke("inspect", "profile", world.tenant, world.profile_id, "--reveal", **reader)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr == "convostore: reveal: takes a user who may record it; run: GRANT convostore_app TO it\n"
    async with fresh_user(engines.postgres_dsn, "IN ROLE convostore_app") as dsn:
        refused = await invoke("inspect", "tenants", CONVOSTORE_POSTGRES_URL=dsn)
        assert (refused.exit_code, refused.stderr) == (
            2,
            "convostore: postgres_url: its user may not look; run: GRANT convostore_reader TO it\n",
        )


async def test_without_the_hot_tier_the_tier_is_unknown(world: World, invoke: Invoke) -> None:
    arguments = ("inspect", "sessions", world.tenant, "--agent", world.agent.id, "--json")
    result = await invoke(*arguments, CONVOSTORE_REDIS_URL="redis://127.0.0.1:1")
    assert [row["tier"] for row in json.loads(result.stdout)["sessions"]] == [None]


async def test_a_schema_of_another_version_is_named_and_left_alone(engines: Embedded, invoke: Invoke) -> None:
    async with fresh_database(engines.postgres_dsn) as dsn:
        result = await invoke("inspect", "tenants", CONVOSTORE_POSTGRES_URL=dsn)
        assert (result.exit_code, result.stderr.rpartition("run: ")[2]) == (2, "convostore migrate\n")
        assert await schema_version(dsn) == "base"


async def test_what_is_too_wide_for_a_terminal_is_shown_row_by_row(world: World, invoke: Invoke) -> None:
    arguments = ("inspect", "sessions", world.tenant, "--agent", world.agent.id)
    narrow = await invoke(*arguments, FORCE_COLOR="1", COLUMNS="80", NO_COLOR="1")
    wide = await invoke(*arguments, FORCE_COLOR="1", COLUMNS="200", NO_COLOR="1")
    assert ("───" in narrow.stdout, "───" in wide.stdout) == (False, True)
    assert str(world.session.session_id) in narrow.stdout
    assert max(map(len, narrow.stdout.splitlines())) <= 80


async def test_a_session_without_turns_is_no_broken_chain(world: World, look: Look) -> None:
    found = await look("turns", world.tenant, uuid4())
    assert (found["turns"], found["verification"]) == ([], {"chain": "unknown", "records": 0})
