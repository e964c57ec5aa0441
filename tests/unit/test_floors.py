"""The floors of the package: imports only lead down, never in a circle, and no backend knows another."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import convostore

ROOT = Path(convostore.__file__).parent

FLOORS = (
    ("errors", "models"),
    ("call", "supported", "urls"),
    ("domain",),
    ("contracts",),
    ("gateway",),
    ("backends",),
    ("inmemory", "postgres", "redis"),
    ("tiered",),
    ("operations", "embedded", "testing"),
    ("engines", "health", "settings"),
    ("stores",),
    ("opening",),
    ("",),
    ("replay",),
    ("cli",),
)
"""From the ground up; "" is the package itself. Rooms of one floor do not know each other."""

FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("convostore", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in the file, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return {name for name in found if name.partition(".")[0] == "convostore"}


IMPORTS = {name: imports(path) for name, path in MODULES.items()}


def room(module: str) -> str:
    """Return the folder, or the file beside the folders, that a module belongs to; `__main__` is an entry of `cli`."""
    return module.split(".")[1].replace("__main__", "cli") if "." in module else ""


def test_every_folder_and_file_has_a_floor() -> None:
    assert {room(name) for name in MODULES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_lead_down(module: str) -> None:
    wrong = {
        imported
        for imported in IMPORTS[module]
        if room(imported) != room(module) and FLOOR_OF.get(room(imported), 99) >= FLOOR_OF[room(module)]
    }
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}, which stand no lower"


def test_no_imports_go_in_a_circle() -> None:
    order = TopologicalSorter({name: found & set(MODULES) for name, found in IMPORTS.items()})
    order.prepare()
