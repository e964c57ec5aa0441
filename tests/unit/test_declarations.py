"""What is declared agrees with the models and with the contracts, whose methods follow from it."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, Union, get_args, get_origin

import pytest

from convostore.contracts import ConfigStore, MemoryStore
from convostore.domain.declaration import Declaration, Kept
from convostore.domain.declarations import AGENT, AGENT_OWNED, CONFIG, DECLARATIONS, ENTITY, EPISODE, KEPT, RELATIONSHIP
from convostore.models import AgentConfig
from convostore.models.base import Model
from convostore.models.fields import ChannelUserId, Json, JsonObject, Text, Vector
from convostore.models.memory import EntityName
from tests.unit.strategies import hints_of

EVERY_DECLARATION = pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
EVERY_CONFIG = pytest.mark.parametrize("declaration", CONFIG, ids=lambda declaration: declaration.name)
EVERY_KEPT = pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.name)

LISTED: list[tuple[type, Declaration[Any]]] = [
    *((ConfigStore, declaration) for declaration in CONFIG),
    *((MemoryStore, declaration) for declaration in (EPISODE, ENTITY, RELATIONSHIP)),
]

CONTENT = (Text, Json, JsonObject, Vector, ChannelUserId, EntityName)
"""The types of what people say and of what is said about them."""


def is_content(hint: Any) -> bool:
    """Return whether a field of this type may hold content, itself or in a model inside."""
    if hint in CONTENT:
        return True
    if get_origin(hint) is Annotated:
        return is_content(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType, list, dict):
        return any(map(is_content, get_args(hint)))
    return isinstance(hint, type) and issubclass(hint, Model) and any(map(is_content, hints_of(hint).values()))


def parameters_of(contract: type, method: str) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(getattr(contract, method)).parameters.items())[1:])


def test_names_are_unique() -> None:
    assert len({kept.name for kept in KEPT}) == len(KEPT)


@EVERY_DECLARATION
def test_a_declaration_names_columns_of_its_model(declaration: Declaration[Any]) -> None:
    named = {column.removeprefix("-") for column in declaration.order}
    named |= {*declaration.key, *declaration.lookup, *declaration.owned_by, *declaration.only, *declaration.parents}
    for unique in declaration.unique:
        named |= {*unique.columns, *unique.among}
    assert named <= set(declaration.columns)
    assert set(declaration.parents.values()) <= {other.name for other in DECLARATIONS}


@EVERY_DECLARATION
def test_what_a_store_manages_of_a_row_is_declared(declaration: Declaration[Any]) -> None:
    if declaration.revisioned:
        assert "revision" in declaration.model.store_managed
    if declaration.soft_delete:
        assert "deleted_at" in declaration.model.store_managed


@EVERY_CONFIG
def test_a_configuration_store_saves_deletes_and_restores_it(declaration: Declaration[Any]) -> None:
    assert declaration.revisioned
    for verb in ("get", "delete", "restore"):
        parameters = parameters_of(ConfigStore, f"{verb}_{declaration.name}")
        assert len(parameters) == 1 + len(declaration.lookup)
        assert next(iter(parameters)) == "tenant_id"
    for method in (f"save_{declaration.name}", f"save_{declaration.plural}"):
        assert list(parameters_of(ConfigStore, method))[1:] == ["overwrite"]


@pytest.mark.parametrize(("contract", "declaration"), LISTED, ids=lambda part: getattr(part, "name", None))
def test_a_list_and_its_stream_have_the_same_filters(contract: type, declaration: Declaration[Any]) -> None:
    listed = parameters_of(contract, declaration.listed)
    streamed = parameters_of(contract, f"iter_{declaration.plural}")
    page = {name: listed.pop(name) for name in ("limit", "offset", "after")}
    assert {parameter.default for parameter in page.values()} <= {None, 0, 20, 50}
    assert listed == streamed
    options = {name: parameter for name, parameter in listed.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(options) - {"since", "until", "as_of"} <= {*declaration.columns, "enabled_only"}
    if contract is ConfigStore:
        assert list(listed)[: len(listed) - len(options)] == ["tenant_id", *declaration.owned_by]
        only = {name.removesuffix("_only"): option for name, option in options.items() if option.default is not None}
        assert {name: True for name, option in only.items() if option.default} == declaration.only


def test_an_agents_configuration_has_a_part_for_everything_that_belongs_to_it() -> None:
    assert list(AgentConfig.model_fields) == [AGENT.name, *(declaration.plural for declaration in AGENT_OWNED)]


@EVERY_KEPT
def test_what_may_hold_content_is_declared_sensitive(kept: Kept[Any]) -> None:
    model: type[Model] = kept.model
    content = {name for name, hint in hints_of(model).items() if is_content(hint)}
    assert content <= set(kept.sensitive) <= set(model.model_fields)


@EVERY_KEPT
def test_what_refers_to_a_customer_is_declared(kept: Kept[Any]) -> None:
    own = {*kept.key} if isinstance(kept, Declaration) else {getattr(kept, "key", "id")}
    references = {"customer_profile_id", "session_id", "turn_id", "from_entity_id", "to_entity_id"}
    assert references & set(kept.model.model_fields) - own == set(kept.customer)


@EVERY_KEPT
def test_every_path_to_a_customer_ends_at_a_profile(kept: Kept[Any]) -> None:
    named = {other.name: other for other in KEPT}
    reached, seen = {*kept.customer.values()}, set[str]()
    while reached - seen:
        name = (reached - seen).pop()
        seen.add(name)
        assert named[name].customer or name == "profile", f"{name} leads to nobody"
        reached |= {*named[name].customer.values()}
    assert "profile" in reached or not kept.customer
