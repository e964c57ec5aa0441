"""Every field of every model states meaning, bounds and unit, where IDEs, JSON schema and OpenAPI show it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import PyZipFile, ZipFile

import pytest
from pydantic import Field

import convostore
from convostore import models
from convostore.models.base import FrozenModel, Model

PACKAGE = Path(convostore.__file__).parent
BOUNDS = ("minimum", "maximum", "minLength", "maxLength")


def subclasses(model: type[Model]) -> Iterator[type[Model]]:
    for child in model.__subclasses__():
        yield child
        yield from subclasses(child)


EVERY_MODEL = sorted(
    {model for model in subclasses(Model) if model.__module__.startswith("convostore.models.")},
    key=lambda model: model.__name__,
)


def test_every_exported_model_is_examined() -> None:
    exported = {getattr(models, name) for name in models.__all__}
    assert {item for item in exported if issubclass(item, Model)} <= set(EVERY_MODEL)


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda model: model.__name__)
def test_every_field_is_described_with_its_bounds_and_unit(model: type[Model]) -> None:
    fields = model.model_json_schema().get("properties", {})
    assert set(fields) == set(model.model_fields)
    found = [f"{model.__name__}.{name} {fault}" for name, schema in fields.items() for fault in faults(schema)]
    assert not found, "\n".join(found)


def faults(schema: dict[str, Any]) -> Iterator[str]:
    """Yield what the description of a field lacks, given the field's JSON schema."""
    text = schema.get("description", "")
    if len(text) < 15 or not text.endswith("."):
        yield f"has no description of at least 15 characters that ends with a period: {text!r}"
        return
    stated = {int(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*", text)}
    for value in values(schema):
        # That a count is not negative goes without saying.
        missing = {value[bound] for bound in BOUNDS if value.get(bound)} - stated
        if missing:
            yield f"does not state its bounds {sorted(missing)}: {text!r}"
        if value.get("format") == "date-time" and "UTC" not in text:
            yield f"does not state that its time is in UTC: {text!r}"


def values(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema of a field, of its alternatives, and of what it contains."""
    yield schema
    for nested in (*schema.get("anyOf", ()), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(nested, dict):
            yield from values(nested)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({}, "no description"),
        ({"description": "The name."}, "no description"),
        ({"description": "Display name of the agent"}, "ends with a period"),
        ({"description": "Display name, at most 100 characters.", "minLength": 1, "maxLength": 100}, r"bounds \[1\]"),
        ({"description": "Labels for the caller.", "items": {"maxLength": 200}}, r"bounds \[200\]"),
        ({"description": "Priority from -10 to 10.", "anyOf": [{"minimum": -100}]}, r"bounds \[-100\]"),
        ({"description": "Time of the first save.", "format": "date-time"}, "UTC"),
    ],
)
def test_a_poor_description_is_found(schema: dict[str, Any], fault: str) -> None:
    (found,) = faults(schema)
    assert re.search(fault, found)


class Parent(Model):
    """A model of an application, built on the base of ours."""

    described: int
    """One sentence
    on two lines."""
    explicit: int = Field(description="Described by `Field`.")
    bare: int = 0


class Child(Parent):
    """A model that inherits two descriptions and replaces one."""

    described: int = 1
    """Another sentence."""


class Frozen(FrozenModel):
    """An immutable model that refers to one declared later."""

    later: Later
    """Resolved when the schema is built."""


class Later(Model):
    """A model without fields."""


def test_the_docstring_below_a_field_is_its_description() -> None:
    assert descriptions_of(Parent) == {
        "described": "One sentence on two lines.",
        "explicit": "Described by `Field`.",
        "bare": None,
    }
    assert descriptions_of(Child) == descriptions_of(Parent) | {"described": "Another sentence."}
    assert descriptions_of(Frozen) == {"later": "Resolved when the schema is built."}


def test_a_class_in_a_function_has_none_of_the_docstrings_of_its_namesake() -> None:
    class Parent(Model):
        described: int

    assert descriptions_of(Parent) == {"described": None}


def test_a_class_of_no_importable_module_is_valid() -> None:
    names: dict[str, Any] = {"Model": Model, "__name__": "nowhere"}
    exec('class Made(Model):\n    made: int\n    """Of no source."""', names)
    assert descriptions_of(names["Made"]) == {"made": None}


def descriptions_of(model: type[Model]) -> dict[str, str | None]:
    shown = {name: schema.get("description") for name, schema in model.model_json_schema()["properties"].items()}
    assert shown == {name: field.description for name, field in model.model_fields.items()}
    return shown


def test_descriptions_are_read_from_a_zip_archive(tmp_path: Path) -> None:
    archive = tmp_path / "convostore.zip"
    with ZipFile(archive, "w") as opened:
        for file in PACKAGE.rglob("*.py"):
            opened.write(file, file.relative_to(PACKAGE.parent))
    assert imported_from(archive).startswith("Identifier of the language model")


def test_models_work_without_their_source(tmp_path: Path) -> None:
    archive = tmp_path / "convostore.zip"
    with PyZipFile(str(archive), "w") as opened:
        opened.writepy(str(PACKAGE))
        assert not [name for name in opened.namelist() if name.endswith(".py")]
    assert imported_from(archive) == "None"


def imported_from(archive: Path) -> str:
    """Return the description of a field in an interpreter that imports the models from an archive."""
    program = (
        f"import sys; sys.path.insert(0, {str(archive)!r}); from convostore import models; "
        f"assert models.__file__.startswith({str(archive)!r}), models.__file__; "
        "print(models.AgentSettings(temperature=1).model_json_schema()['properties']['model'].get('description'))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()
