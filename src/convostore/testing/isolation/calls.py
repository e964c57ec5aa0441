"""Calls of every method of a contract, by introspection, with all that twins know as arguments."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

from convostore.call.effects import Effect, effect_of
from convostore.call.store import Store
from convostore.domain.declarations import DECLARATIONS
from convostore.models import Consent, CustomerProfile, ProfileAsset, ProfileField
from convostore.models.base import Model
from convostore.testing import factories
from convostore.testing.isolation.worlds import CONSTANTS, World, facts_of, made

_KEYS = {declaration.model: declaration.key[0] for declaration in DECLARATIONS}

_BLOCKS = {"lock"}
"""What is made of other methods of the contract and waits."""

_MOST = 16
"""How many argument lists of one method are tried at most."""


@dataclass(frozen=True)
class Method:
    """A method of a contract that concerns one tenant."""

    name: str
    effect: Effect
    parameters: dict[str, Any]
    required: frozenset[str]


def functions_of(contract: type[Store]) -> dict[str, Callable[..., Any]]:
    """Return the public functions of a contract by name, those of the classes that it is made of included."""
    classes = contract.__mro__[: contract.__mro__.index(Store)]
    return {
        name: function
        for each in reversed(classes)
        for name, function in vars(each).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }


def methods_of(contract: type[Store]) -> list[Method]:
    """Return the public methods of a contract that take a tenant, or something of a tenant."""
    found = []
    for name, function in functions_of(contract).items():
        if name in _BLOCKS:
            continue
        hints = typing.get_type_hints(function)
        parameters = {key: _plain(hints[key]) for key in inspect.signature(function).parameters if key != "self"}
        if any(key == "tenant_id" or _has_tenant(hint) for key, hint in parameters.items()):
            signature = inspect.signature(function).parameters
            required = frozenset(key for key in parameters if signature[key].default is inspect.Parameter.empty)
            found.append(Method(name, effect_of(function), parameters, required))
    return found


def calls_of(method: Method, world: World, kind: str, *, required: bool = False) -> Iterator[dict[str, Any]]:
    """Yield argument lists: each combination of required ones that an item knows, then each optional one beside."""
    if world.asked is None:
        everything = made(world.as_twin(), kind)
        world.asked = [*_rows(made(World(world.tenant, world.ids), kind)), *_rows(everything)], everything
    rows, everything = world.asked
    rows = sorted(rows, key=lambda row: row["kind"] not in method.name)
    seen: set[str] = set()
    basic: list[dict[str, Any]] = []
    for row in rows:
        arguments = _filled(method, method.required, row, world, everything)
        for given in arguments:
            if len(basic) < _MOST and (said := repr(given)) not in seen:
                seen.add(said)
                basic.append({name: _copied(value) for name, value in given.items()})
    yield from basic
    if required:
        return
    optional = [name for name in method.parameters if name not in method.required and name in _USED]
    for name in optional:
        for given in basic[:: max(1, len(basic) - 1)]:
            fitting = [more for row in rows for more in _filled(method, frozenset({name}), row, world, everything)]
            for more in fitting[:: max(1, len(fitting) - 1)]:
                yield {**given, **more}


_USED = {
    *("after", "agent_id", "customer_profile_id", "session_id", "group_id", "enabled_only", "embedding_model"),
    *("name", "entity_type", "query_embedding", "context", "turn_id", "from_entity_id", "to_entity_id"),
}
"""The optional arguments that filter by what twins share, or say where a page begins."""


async def outcome(store: Any, method: Method, arguments: dict[str, Any]) -> Any:
    """Return what a call returns or raises."""
    try:
        result = getattr(store, method.name)(**arguments)
        if isinstance(result, AsyncIterator):
            return [item async for item in result]
        if inspect.isawaitable(result):
            return await result
        async with result as value:
            return value
    except Exception as error:  # noqa: BLE001  (compared, whatever it is)
        return [type(error).__name__, getattr(error, "code", None), getattr(error, "current_revision", None)]


def _rows(world: World) -> Iterator[dict[str, Any]]:
    """Yield what each item says of arguments; two profiles say more than one."""
    profiles = world.items.get("profile", [])
    for name, items in world.items.items():
        for number, item in enumerate(items):
            declaration = next((each for each in DECLARATIONS if each.name == name), None)
            row = {**facts_of(item, declaration, name), **CONSTANTS, "after": item, "owner": world.ids("owner", 1)}
            row["kind"], row["next_model"] = name, ("next", "later")[number % 2]
            row["entity_ids"] = [row[end] for end in ("entity_id", "from_entity_id", "to_entity_id") if end in row]
            row["embeddings"] = {row.get("episode_id"): [float(number + 1), 1.0]}
            if name == "session":
                row["scenario_id"] = item.active_scenario_id
                if number == 0:
                    # What the twin has created, which one has not.
                    yield {**row, "agent_id": world.ids("agent", 0), "user_channel_id": f"new user {True}"}
            if name == "profile":
                (identity, _), asset = item.channel_identities, item.assets[0]
                row |= {"channel": identity.channel, "channel_user_id": identity.channel_user_id}
                row |= {"asset_name": asset.name, "value": item.fields["city"].value, "supersedes": asset.id}
                row |= {"item_id": item.fields["cart"].id, "source_id": item.id, "target_id": profiles[0].id}
            yield row


def _filled(
    method: Method, names: frozenset[str], row: dict[str, Any], world: World, everything: World
) -> Iterator[dict[str, Any]]:
    """Yield arguments of these names; none if the row does not say them."""
    given: dict[str, Any] = {}
    models: dict[str, list[Any]] = {}
    for name in names:
        hint = method.parameters[name]
        (kind, several) = (get_args(hint)[0], True) if get_origin(hint) is list else (hint, False)
        if name == "tenant_id":
            given[name] = world.tenant
        elif name == "after":
            if not isinstance(row["after"], kind if isinstance(kind, type) else ()):
                return
            given[name] = row["after"]
        elif isinstance(kind, type) and issubclass(kind, Model):
            items = list(_items(kind, world, everything))
            models[name] = [[item] for item in items] if several else items
        elif isinstance(kind, type) and issubclass(kind, Enum) and name not in row:
            given[name] = list(kind)[-1]
        elif hint is bool:
            given[name] = False
        elif name == "embedding_model" and name in method.required:
            given[name] = row["next_model"]
        elif row.get(name) is None or None in (row[name] if isinstance(row[name], list | dict) else ()):
            return
        else:
            given[name] = row[name]
    if "tenant_id" in method.parameters:
        # Where it may be left out, a session of any tenant would be found.
        given["tenant_id"] = world.tenant
    if not models:
        yield given
    for name, items in models.items():
        for item in items:
            yield {**given, name: item}


def _copied(value: Any) -> Any:
    """Return items as the store may change them."""
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value.model_copy(deep=True) if isinstance(value, Model) else value


def _items(kind: type[Model], world: World, everything: World) -> Iterator[Any]:
    """Yield items to write: one's own as stored, the twin's under a new id, the twin's as they are."""
    if kind is ProfileField:
        yield factories.make_field("city", "Rome", id=world.ids("field", 3), collected_at=factories.at(9))
        yield factories.make_field("city", "Oslo", id=world.ids("new field", 0), collected_at=factories.at(10))
    elif kind is ProfileAsset:
        yield factories.make_asset(id=world.ids("asset", 4), name="x", uploaded_at=factories.at(9))
        yield factories.make_asset(id=world.ids("new asset", 0), name="y", uploaded_at=factories.at(9))
    elif kind is Consent:
        yield Consent(consent_type="marketing", granted=True)
    else:
        name = next((name for name, items in everything.items.items() if isinstance(items[0], kind)), "")
        if not name:
            return
        # Nested ids of the twin's stay: a unique set of them is the tenant's own too.
        key = _KEYS.get(kind, "id" if "id" in kind.model_fields else "turn_id")
        yield from (_without_an_identity(item) for item in world.items[name])
        for number, item in enumerate(everything.items[name][-3:]):
            if number == 0 or key == "session_id":
                yield item.model_copy(update={key: world.ids(f"new {name}", number)})
            else:
                yield item


def _without_an_identity(item: Any) -> Any:
    """Return a profile with one identity less; others as they are."""
    if not isinstance(item, CustomerProfile):
        return item
    return item.model_copy(update={"channel_identities": item.channel_identities[:1]})


def _plain(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return _plain(get_args(hint)[0])
    return _plain(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _has_tenant(hint: Any) -> bool:
    kind = get_args(hint)[0] if get_origin(hint) is list else hint
    return isinstance(kind, type) and issubclass(kind, Model) and "tenant_id" in kind.model_fields
