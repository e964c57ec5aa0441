"""Free-form JSON, vectors, and the consistency of a profile's items."""

from __future__ import annotations

import copy
import math
import pickle
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from convostore.models import ScopeFilter, StepChanges, TransformationMap
from convostore.models.fields import Json, JsonObject, Vector
from convostore.models.migration import AnchorTransformation
from convostore.testing.factories import make_asset, make_field, make_identity, make_profile
from tests.unit.strategies import JSON, QUICK

JSON_VALUES: TypeAdapter[Any] = TypeAdapter(Json)
JSON_OBJECTS: TypeAdapter[Any] = TypeAdapter(JsonObject)
VECTORS: TypeAdapter[list[float]] = TypeAdapter(Vector)


def nested(depth: int, *, by: str = "list") -> Any:
    value: Any = [] if by == "list" else {}
    for _ in range(depth - 1):
        value = [value] if by == "list" else {"in": value}
    return value


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [None, True, "", 0, -(10**38) + 1, 10**38 - 1, 0.1, -0.0, 5e-324, [], {}, {"": [None]}, "x" * (2**20 - 2)],
    ids=lambda value: repr(value)[:20],
)
def test_json_is_kept_unchanged(value: Any) -> None:
    kept = JSON_VALUES.validate_python(value)
    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize("by", ["list", "dict"])
def test_json_has_at_most_64_levels(by: str) -> None:
    assert JSON_VALUES.validate_python(nested(64, by=by)) == nested(64, by=by)
    with pytest.raises(pydantic.ValidationError, match="must not be nested deeper than 64 levels"):
        JSON_VALUES.validate_python(nested(65, by=by))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "numbers in JSON must be finite"),
        ([math.inf], "numbers in JSON must be finite"),
        ({"a": {"b": -math.inf}}, "numbers in JSON must be finite"),
        (10**38 + 1, r"integers in JSON must lie below 10\^38"),
        (-(10**400), r"integers in JSON must lie below 10\^38"),
        ({1: "x"}, "keys in JSON must be strings"),
        ({None: "x"}, "keys in JSON must be strings"),
        ({"a\x00": 1}, "must not contain NUL characters"),
        (["\x00"], "must not contain NUL characters"),
        ({"\ud800": 1}, "must not contain unpaired surrogates"),
        ("\udfff", "must not contain unpaired surrogates"),
        ("x" * (2**20 - 1), "must be at most 1,048,576 bytes as JSON"),
        (["語" * 1_000] * 400, "must be at most 1,048,576 bytes as JSON"),
        (endless(), "must not be nested deeper"),
        ((1, 2), "JSON cannot hold a tuple"),
        ({1, 2}, "JSON cannot hold a set"),
        (b"x", "JSON cannot hold a bytes"),
        (Decimal(1), "JSON cannot hold a Decimal"),
        (datetime(2026, 1, 1, tzinfo=UTC), "JSON cannot hold a datetime"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_that_json_cannot_represent_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=reason):
        JSON_VALUES.validate_python(value)
    with pytest.raises(pydantic.ValidationError, match=reason):
        JSON_OBJECTS.validate_python({"in": {"a": value}})


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_an_object_field_accepts_objects_only(value: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match="must be a JSON object"):
        JSON_OBJECTS.validate_python(value)


@pytest.mark.parametrize("value", [1e23, 2.0**53, -1e300, 1.7976931348623157e308])
def test_large_floats_become_equal_integers(value: float) -> None:
    kept = JSON_VALUES.validate_python(value)
    assert kept == value
    assert type(kept) is int
    assert JSON_VALUES.validate_json(JSON_VALUES.dump_json(kept)) == kept


@QUICK
@given(JSON)
def test_json_is_copied_and_stable(value: Any) -> None:
    kept = JSON_VALUES.validate_python(value)
    assert kept == value
    assert JSON_VALUES.validate_python(kept) == kept
    assert JSON_VALUES.validate_json(JSON_VALUES.dump_json(kept)) == kept
    if isinstance(value, list | dict):
        assert kept is not value


@QUICK
@given(st.lists(st.floats(-3e38, 3e38), min_size=1, max_size=8))
def test_vectors_are_rounded_to_float32(value: list[float]) -> None:
    rounded = [struct.unpack("f", struct.pack("f", item))[0] for item in value]
    if any(rounded):
        assert VECTORS.validate_python(value) == rounded
        assert VECTORS.validate_json(VECTORS.dump_json(rounded)) == rounded
    else:
        with pytest.raises(pydantic.ValidationError, match="must not be the zero vector"):
            VECTORS.validate_python(value)


@pytest.mark.parametrize("value", [[1.0], [1], (0.5, 2), [0.0, 1e-45], [1.0] * 4_000, [-3.4e38]])
def test_vectors_have_1_to_4000_finite_numbers(value: Any) -> None:
    assert len(VECTORS.validate_python(value)) == len(value)


def test_a_vector_that_has_changed_is_validated_again() -> None:
    checked: list[Any] = VECTORS.validate_python([1.0, 2.0])
    assert VECTORS.validate_python(checked) == [1.0, 2.0]
    assert VECTORS.validate_python(checked) is not checked
    checked[0] = 0.1
    assert VECTORS.validate_python(checked) == [struct.unpack("f", struct.pack("f", 0.1))[0], 2.0]
    for wrong in (math.nan, "1", None, 3.5e38):
        checked[0] = wrong
        with pytest.raises(pydantic.ValidationError):
            VECTORS.validate_python(checked)
    del checked[0]
    assert VECTORS.validate_python(checked) == [2.0]
    checked[0] = 0
    with pytest.raises(pydantic.ValidationError, match="zero vector"):
        VECTORS.validate_python(checked)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_of_a_vector_is_a_list(copied: Callable[[Any], Any]) -> None:
    vector = VECTORS.validate_python([1.0, 2.0])
    assert copied(vector) == vector
    assert type(copied(vector)) is list


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "must have 1 to 4,000 dimensions"),
        ([1.0] * 4_001, "must have 1 to 4,000 dimensions"),
        ([0.0, -0.0], "must not be the zero vector"),
        ([1e-60], "must not be the zero vector after rounding to float32"),
        ([math.nan], "finite"),
        ([1.0, math.inf], "finite"),
        ([3.5e38], "finite numbers in the range of float32"),
        ([10**400], "finite numbers in the range of float32"),
        ([True], "list of numbers"),
        (["1"], "list of numbers"),
        ([None], "list of numbers"),
        ("12", "list of numbers"),
        (b"12", "list of numbers"),
        ({1.0: 1.0}, "list of numbers"),
        (None, "list of numbers"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_vectors_are_refused(value: Any, reason: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=reason):
        VECTORS.validate_python(value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fields": {"town": make_field("city")}}, "fields must stand under their own name"),
        ({"fields": {"city": make_field("city", status="superseded")}}, "fields must be active"),
        ({"assets": [make_asset(status="superseded")]}, "assets must not be superseded"),
        ({"channel_identities": [make_identity(channel_user_id="1")] * 2}, "identity must not be listed twice"),
        ({"fields": {name: make_field(name, id=UUID(int=1)) for name in "ab"}}, "id .* must not be listed twice"),
        ({"assets": [make_asset(id=UUID(int=1)) for _ in range(2)]}, "id .* must not be listed twice"),
    ],
)
def test_the_items_of_a_profile_must_be_consistent(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=reason):
        make_profile(uuid4(), **changes)


def test_an_anchor_is_found_by_its_hash() -> None:
    node = {"anchor_name": "a", "anchor_node_id_v1": uuid4(), "anchor_node_id_v2": uuid4()}
    anchors = [
        AnchorTransformation.model_validate({**node, "anchor_content_hash": name, "migration_scenario": "gap_fill"})
        for name in ("one", "two")
    ]
    found = TransformationMap(anchors=anchors)
    assert found.get_anchor_by_hash("two") == anchors[1]
    assert found.get_anchor_by_hash("three") is None
    assert anchors[0].upstream_changes == StepChanges()
    assert ScopeFilter().custom_conditions == []
