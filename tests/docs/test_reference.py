"""The reference is complete: every public name, every field of a model, every setting, every code of an error."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from convostore import models
from convostore.domain.declarations import DECLARATIONS
from convostore.embedded import Embedded
from convostore.settings import Settings
from tests.docs.pages import DOCS, ROOT, blocks, output_of
from tests.unit.test_public_names import PUBLIC

REFERENCE = DOCS / "reference"
SOURCE = ROOT / "src" / "convostore"


@pytest.fixture(scope="module")
def described(site: Path) -> set[str]:
    """Every name that a page of the site describes, by its path in Python: Sphinx's inventory, version 2."""
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ", 1)[0] for line in zlib.decompress(inventory).decode().splitlines()}


def paths(module: str, name: str) -> set[str]:
    """Return the paths by which a public name may be described: where it is public, and where it is defined."""
    value = getattr(importlib.import_module(module), name)
    return {f"{module}.{name}", f"{getattr(value, '__module__', module)}.{getattr(value, '__qualname__', name)}"}


@pytest.mark.slow
@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_described(module: str, described: set[str]) -> None:
    tables = (REFERENCE / "backends.md").read_text("utf-8") if module == "convostore.backends" else ""
    missing = [name for name in PUBLIC[module] if not paths(module, name) & described and f"`{name}`" not in tables]
    assert missing == (["__version__"] if module == "convostore" else [])


@pytest.mark.slow
def test_every_field_of_every_model_is_described(described: set[str]) -> None:
    kinds = [kind for kind in vars(models).values() if inspect.isclass(kind) and issubclass(kind, BaseModel)]
    assert len(kinds) > 30
    fields = {f"{kind.__module__}.{kind.__qualname__}.{name}" for kind in kinds for name in kind.model_fields}
    assert fields - described == set()


def default_of(field: FieldInfo) -> str:
    """Return a default as the page shows it."""
    if field.default_factory is not None:
        return "the user's data directory"
    shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default).lower()
    return "" if field.default is None else f"`{shown}`"


def allowed(field: FieldInfo) -> str:
    """Return what a setting may be: its values, or its bounds."""
    annotation = str(field.annotation)
    bounds = {name: value for each in field.metadata for name, value in vars_of(each).items()}
    if named := re.findall(r"'(\w+)'", annotation) if "Literal" in annotation and "Language" not in annotation else []:
        return ", ".join(f"`{value}`" for value in named)
    if "gt" in bounds or "ge" in bounds:
        least = f"≥ {bounds['ge']}" if "ge" in bounds else f"> {bounds['gt']}"
        return f"{least}, ≤ {bounds['le']:,}" if "le" in bounds else least
    return "`true`, `false`" if "bool" in annotation else ""


def vars_of(constraint: object) -> dict[str, Any]:
    return {name: getattr(constraint, name) for name in ("gt", "ge", "le") if hasattr(constraint, name)}


def test_the_page_lists_every_setting_with_its_variable_default_and_bounds() -> None:
    (attributes,) = re.findall(r"Attributes:\n(.*)", Settings.__doc__ or "", re.DOTALL)
    texts = dict(re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w|\Z)", attributes, re.MULTILINE | re.DOTALL))
    rows = [
        f"| `CONVOSTORE_{name.upper()}`<br>`{name}` | {' '.join(texts[name].split())} | "
        f"{default_of(field)} | {allowed(field)} |".replace("|  |", "| |").replace("|  |", "| |")
        for name, field in Settings.model_fields.items()
    ]
    page = (REFERENCE / "settings.md").read_text("utf-8")
    assert re.findall(r"^\| `CONVOSTORE_\w+`<br>.*$", page, re.MULTILINE) == rows


def test_the_example_of_both_validation_errors_prints_what_it_says() -> None:
    (example,), (printed,) = blocks(REFERENCE / "errors.md", "python"), blocks(REFERENCE / "errors.md", "text")
    assert output_of(example) == printed.splitlines()


def test_the_example_of_a_store_by_itself_runs(engines: Embedded) -> None:
    (example,) = blocks(REFERENCE / "stores.md", "python")
    assert output_of(example.replace("postgresql://shop@db/shop", engines.postgres_dsn)) == ["1"]


def codes() -> Iterator[str]:
    """Yield every code that an error of convostore is given as it stands."""
    for file in SOURCE.rglob("*.py"):
        if file.is_relative_to(SOURCE / "testing"):
            continue
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.keyword) and call.arg == "code" and isinstance(call.value, ast.Constant):
                yield str(call.value.value)
    for declaration in DECLARATIONS:
        yield from map(declaration.constraint, declaration.unique)


def test_the_page_of_errors_lists_every_code() -> None:
    listed = set(re.findall(r"`([^`]+)`", (REFERENCE / "errors.md").read_text("utf-8")))
    assert {*codes()} - listed == set()
