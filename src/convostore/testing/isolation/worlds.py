"""What twins keep: the same ids and other content, made for each kind of store from declarations and factories."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import randbits
from typing import Any
from uuid import UUID
from zlib import crc32

from convostore.domain.declaration import Declaration
from convostore.domain.declarations import SCENARIO
from convostore.models import Channel, Scenario, SessionStatus
from convostore.models.base import Model
from convostore.testing import factories
from convostore.testing.config.rows import CONFIG_ROWS, ConfigRows
from convostore.testing.factories import at

OWN, TWIN_ONLY = range(6), range(6, 9)
"""The numbers of what both twins keep, and of what only the second one does."""

AGENTS = (0, 0, 0, 1, 0, 0)
"""The number of the agent of each of one's own items; the second agent is deleted."""

Fill = Callable[[Any, "World"], Coroutine[Any, Any, None]]


class Ids:
    """Ids by name and number: the same for twins, in the same order in every world."""

    def __init__(self) -> None:
        self._seed = randbits(63) << 64
        self._given: dict[tuple[str, int], UUID] = {}
        self.known: dict[UUID, str] = {}

    def __call__(self, name: str, number: int) -> UUID:
        """Return the id of a thing."""
        key = name, number
        if key not in self._given:
            place = crc32(name.encode()) << 16
            self._given[key] = UUID(int=self._seed | place | number)
            self.known[self._given[key]] = f"<{name} {number}>"
        return self._given[key]


@dataclass
class World:
    """A tenant, what it keeps, and what else it may ask for.

    Attributes:
        tenant: the tenant.
        ids: shared with its twin.
        twin: whether it is the second one, with other content, and with items that the first does not have.
        items: what it keeps, by the name of its kind.
        asked: what it may ask for, kept by whoever asks.
    """

    tenant: UUID
    ids: Ids
    twin: bool = False
    items: dict[str, list[Any]] = field(default_factory=dict)
    asked: Any = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of its items."""
        return (*OWN, *TWIN_ONLY) if self.twin else tuple(OWN)

    def named(self, number: int) -> str:
        """Return a name; twins give the same names to different items."""
        return "abcdefghi"[(number - self.twin) % 9]

    def agent(self, number: int) -> UUID:
        """Return the agent of an item."""
        return self.ids("agent", AGENTS[number] if number in OWN else 0)

    def as_twin(self) -> World:
        """Return a world of this tenant that keeps what its twin would, to ask for."""
        return World(self.tenant, self.ids, twin=True)


def config_items(world: World) -> None:
    """Make rows of every declaration."""
    for rows in CONFIG_ROWS:
        world.items[rows.declaration.name] = [_config_item(world, rows, number) for number in world.numbers]


def _config_item(world: World, rows: ConfigRows, number: int) -> Any:
    declaration = rows.declaration
    item = rows.make(world.tenant, world.agent(number), id=world.ids(declaration.name, number))
    unique = {column for each in declaration.unique for column in each.columns}
    for column in unique.union(name.removeprefix("-") for name in declaration.order).difference(declaration.owned_by):
        setattr(item, column, _distinct(world, column, getattr(item, column), number))
    if hasattr(item, "condition_text"):
        item.condition_text = _text(world, number)
    if hasattr(item, "embedding"):
        item.embedding, item.embedding_model = [1.0, float(number), float(world.twin)], "model"
    return item


def _text(world: World, number: int) -> str:
    """Return a text of another length each, the twin's longer: word counts and average lengths are one's own."""
    return " ".join(["tea", world.named(number), *map(str, range(number * (1 + 3 * world.twin)))])


def _distinct(world: World, column: str, value: Any, number: int) -> Any:
    if isinstance(value, UUID):
        return world.ids(column, (number - world.twin) % 9)
    if isinstance(value, str):
        return world.named(number)
    return number // 2 if column == "priority" else value


async def fill_config(store: Any, world: World) -> None:
    """Save the rows, archive scenarios, delete the second of each kind; the twin saves some twice and deletes more."""
    for rows in reversed(CONFIG_ROWS):
        await rows.save_all(store, world.items[rows.declaration.name])
        if world.twin:
            await rows.save_all(store, world.items[rows.declaration.name][4:])
    for scenario in world.items[SCENARIO.name]:
        await store.archive_scenario_version(world.tenant, scenario)
    for rows in reversed(CONFIG_ROWS):
        for deleted in world.items[rows.declaration.name][1 : 2 + world.twin]:
            await rows.delete(store, deleted)


def memory_items(world: World) -> None:
    """Make episodes, entities and relationships, each with a group and a customer."""
    ids = world.ids
    entities, episodes, edges = [], [], []
    for number in world.numbers:
        shared: dict[str, Any] = {"agent_id": world.agent(number), "group_id": ids("group", number)}
        shared["recorded_at"] = at(number // 2)
        more: dict[str, Any] = {"embedding": [1.0, float(number), float(world.twin)], "embedding_model": "model"}
        more["customer_profile_id"] = ids("customer", number)
        entities.append(
            factories.make_entity(world.tenant, **shared, **more, id=ids("entity", number), name=world.named(number))
        )
        episodes.append(
            factories.make_episode(
                world.tenant,
                **shared,
                **more,
                id=ids("episode", number),
                # Two to a session: neighbours of each other.
                session_id=ids("session", number // 2),
                content=_text(world, number),
                language="simple",
            )
        )
    # The first three are connected; the twin has a way to the fourth, in each direction.
    ends = ((0, 0), (0, 1), (2, 0), (3, 3), (4, 3), (5, 5), (0, 3), (5, 0), (8, 0))
    for number, entity in enumerate(entities):
        source, target = (entities[end] for end in ends[number])
        more = {"agent_id": entity.agent_id, "group_id": ids("edges", number), "recorded_at": at(number // 2)}
        edges.append(
            factories.make_relationship(
                source, target, **more, id=ids("relationship", number), relation_type=world.named(number)
            )
        )
    world.items = {"entity": entities, "episode": episodes, "relationship": edges}


async def fill_memory(store: Any, world: World) -> None:
    """Add them, and embeddings of other models beside the episodes' own: of one, twins lack it for different ones."""
    await store.add_entities(world.items["entity"])
    await store.add_relationships(world.items["relationship"])
    await store.add_episodes(world.items["episode"])
    beside = world.items["episode"][:-1] if world.twin else world.items["episode"]
    await store.add_embeddings(world.tenant, "next", {episode.id: [0.0, 1.0] for episode in beside})
    lacking = world.ids("episode", 3 + world.twin)
    some = [episode for episode in world.items["episode"] if episode.id != lacking]
    await store.add_embeddings(world.tenant, "later", {episode.id: [0.0, 1.0] for episode in some})


def audit_items(world: World) -> None:
    """Make turns and events of sessions and customers."""
    ids = world.ids
    turns, events = [], []
    for number in world.numbers:
        more: dict[str, Any] = {
            "session_id": ids("session", number),
            "customer_profile_id": ids("customer", number),
            "timestamp": at(number // 2),
        }
        turn = ids("turn", number)
        message = f"I am {world.named(number)}"
        turns.append(
            factories.make_turn(
                world.tenant, **more, turn_id=turn, turn_number=number, user_message=message, agent_id=ids("agent", 0)
            )
        )
        events.append(
            factories.make_event(
                world.tenant,
                **more | ({"session_id": None} if number % 2 else {}),
                id=ids("event", number),
                turn_id=turn,
                event_type=world.named(number),
            )
        )
    world.items = {"turn": turns, "event": events}


async def fill_audit(store: Any, world: World) -> None:
    """Save them."""
    await store.save_turns(world.items["turn"])
    await store.save_events(world.items["event"])


def profile_items(world: World) -> None:
    """Make profiles with identities, fields that have expired, assets and consents."""
    world.items["profile"] = [_profile(world, number) for number in world.numbers]


def _profile(world: World, number: int) -> Any:
    ids, other = world.ids, (number - world.twin) % 9
    identities = [
        factories.make_identity(channel=Channel.SMS, channel_user_id=f"user {world.named(number)}", linked_at=at(0)),
        factories.make_identity(channel=Channel.EMAIL, channel_user_id=f"{number}@example.com", linked_at=at(0)),
    ]
    then = {"collected_at": at(number), "updated_at": at(number)}
    city = factories.make_field(
        "city", f"Bonn {world.named(number)}", **then, id=ids("field", number), expires_at=at(1)
    )
    cart = factories.make_field("cart", number, **then, id=ids("cart", number), source_item_id=ids("asset", number))
    return factories.make_profile(
        world.tenant,
        id=ids("profile", number),
        customer_id=ids("customer_id", other),
        channel_identities=identities,
        fields={"city": city, "cart": cart},
        assets=[factories.make_asset(id=ids("asset", number), name=world.named(number), uploaded_at=at(number))],
    )


async def fill_profiles(store: Any, world: World) -> None:
    """Save them, supersede an asset, merge the third into the first, delete the second; the twin does so to others."""
    ids = [profile.id for profile in world.items["profile"]]
    for profile in world.items["profile"]:
        await store.save_profile(profile)
    renewed = 3 + world.twin
    asset = factories.make_asset(id=world.ids("asset", 10), name=world.named(renewed), uploaded_at=at(10))
    await store.add_asset(world.tenant, ids[renewed], asset, supersedes=world.ids("asset", renewed))
    for source, target in ((2, 0), (6, 0), (7, 3), (5, 1)) if world.twin else ((2, 0),):
        await store.merge_profiles(world.tenant, ids[source], ids[target])
    for deleted in (1, 4) if world.twin else (1,):
        await store.delete_profile(world.tenant, ids[deleted])


def session_items(world: World) -> None:
    """Make sessions of the same agents, customers, identities and steps; an id of a session is one tenant's alone."""
    world.items["session"] = [
        _session(world, number) for number in world.numbers if number in (TWIN_ONLY if world.twin else OWN)
    ]


def _session(world: World, number: int) -> Any:
    ids, shared = world.ids, number % 3
    return factories.make_session(
        world.tenant,
        session_id=ids("session", number),
        agent_id=ids("agent", shared),
        channel=Channel.SMS,
        user_channel_id=f"user {world.named(shared)}",
        customer_profile_id=ids("customer", shared),
        status=SessionStatus.ACTIVE,
        active_scenario_id=ids("scenario", shared),
        active_scenario_version=1,
        step_history=[factories.make_visit(step_id=ids("step", shared), step_content_hash="here")],
        variables={"of": world.named(number)},
    )


async def fill_sessions(store: Any, world: World) -> None:
    """Save them, create one for an identity, lock the second, and demote the third."""
    await store.get_or_create(world.tenant, world.ids("agent", 0), Channel.SMS, f"new user {world.twin}")
    for session in world.items["session"]:
        await store.save(session)
    _, second, third, *_ = world.items["session"]
    await store.acquire_lock(second.session_id, world.ids("owner", 1), tenant_id=world.tenant)
    await store.demote_to_persistent(third.session_id, tenant_id=world.tenant)


KINDS: dict[str, tuple[Callable[[World], None], Fill]] = {
    "config": (config_items, fill_config),
    "memory": (memory_items, fill_memory),
    "audit": (audit_items, fill_audit),
    "profile": (profile_items, fill_profiles),
    "session": (session_items, fill_sessions),
}
"""How the items of each kind of store are made, and saved."""


def made(world: World, kind: str) -> World:
    """Make what a world keeps, without saving it."""
    KINDS[kind][0](world)
    return world


def facts_of(item: Model, declaration: Declaration[Any] | None, name: str) -> dict[str, Any]:
    """Return what an item says of arguments: its fields, its id under the name of its kind, and nested ones."""
    said = dict(item.__dict__)
    key = declaration.key[0] if declaration else "id"
    for word in (name, name.rpartition("_")[2]):
        said.setdefault(f"{word}_id", said.get(key))
    if isinstance(item, Scenario):
        said["scenario_id"] = item.id
    return said


CONSTANTS: dict[str, Any] = {
    "query": "tea",
    "query_embedding": [1.0, 0.5, 0.0],
    "context": 2,
    "step_content_hash": "here",
    "scenario_version": 1,
    "before": datetime.now(UTC) + timedelta(days=1),
    "at": at(86_400),
    "field_name": "city",
}
"""Arguments that no item says."""
