"""The published contract suite is complete: no test hides another, no method goes untested, every class runs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from convostore import testing
from convostore.call.store import Store
from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore, TurnStore
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import CONFIG_ROWS
from convostore.testing.isolation.contract import contract_of
from tests.unit.calls import METHODS, STORES, Method

SUITES: dict[type[Store], type[StoreContract]] = {
    SessionStore: testing.SessionStoreContract,
    ConfigStore: testing.ConfigStoreContract,
    MemoryStore: testing.MemoryStoreContract,
    AuditStore: testing.AuditStoreContract,
    ProfileStore: testing.ProfileStoreContract,
    TurnStore: testing.TurnStoreContract,
}
EVERY_SUITE = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.__name__)


def mixins_of(suite: type) -> list[type]:
    return [base for base in suite.__mro__ if issubclass(base, StoreContract) and base is not StoreContract]


def names_in(suite: type) -> list[str]:
    return [name for mixin in mixins_of(suite) for name in vars(mixin) if name.startswith("test")]


@cache
def tree_of(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def modules_of(suite: type) -> set[ModuleType]:
    """Return the modules that a suite's tests stand in, and those whose helpers they import."""
    modules = {sys.modules[mixin.__module__] for mixin in mixins_of(suite)} - {testing}
    names = {
        node.module or ""
        for module in modules
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ImportFrom)
    }
    return modules | {
        module for name, module in sys.modules.items() if name in names and name.startswith("convostore.testing.")
    }


def called_in(module: ModuleType) -> Iterator[str]:
    """Yield the names of the methods of a store that a module uses."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith(("store", "bound")):
            yield node.attr
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "rows":
            # `rows.save(store, item)` stands for the `save_` method of every declaration.
            yield from (rows.methods[node.attr] for rows in CONFIG_ROWS if node.attr in rows.methods)


@cache
def called_by_suites() -> dict[type, set[str]]:
    """Return for each suite the names of the methods of a store that its tests use."""
    return {suite: {name for module in modules_of(suite) for name in called_in(module)} for suite in SUITES.values()}


@EVERY_SUITE
def test_no_two_mixins_define_a_test_of_the_same_name(suite: type) -> None:
    hidden = [name for name, times in Counter(names_in(suite)).items() if times > 1]
    assert not hidden, f"{suite.__name__}: {hidden} hide tests of other mixins"


@pytest.mark.parametrize(
    "module", sorted({m for s in SUITES.values() for m in modules_of(s)}, key=str), ids=lambda module: module.__name__
)
def test_no_class_defines_a_test_twice(module: ModuleType) -> None:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ClassDef):
            names = [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert [name for name, times in Counter(names).items() if times > 1] == [], node.name


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_contract_method_is_called(method: Method) -> None:
    suite = SUITES[method.contract]
    assert method.name in called_by_suites()[suite], f"no test of {suite.__name__} calls {method.name}"


def test_every_mixin_belongs_to_a_suite() -> None:
    everything = {
        value
        for name, module in sys.modules.items()
        if name.startswith("convostore.testing")
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, StoreContract) and value is not StoreContract
    }
    suites = (*SUITES.values(), testing.SessionsByTenantContract)
    assert everything == {mixin for suite in suites for mixin in mixins_of(suite)}


@pytest.mark.parametrize(("contract", "store"), STORES.items(), ids=lambda each: each.__name__)
def test_isolation_and_bad_input_are_tried_of_the_whole_contract(contract: type[Store], store: Any) -> None:
    assert contract_of(store()) is contract


@EVERY_SUITE
def test_tests_are_coroutines_that_take_the_store(suite: type) -> None:
    for name in names_in(suite):
        test = getattr(suite, name)
        assert inspect.iscoroutinefunction(test), name
        assert "store" in inspect.signature(test).parameters, name


@pytest.mark.slow
def test_every_suite_runs_when_subclassed_elsewhere(tmp_path: Path) -> None:
    lines = ["import pytest", "from convostore import inmemory, testing"]
    parts = ", ".join(f"inmemory.InMemory{contract.__name__}()" for contract in STORES)
    for contract, suite in SUITES.items():
        store = f"InMemory{contract.__name__}({parts if contract is TurnStore else ''})"
        lines += [
            f"class TestMy{suite.__name__}(testing.{suite.__name__}):",
            "    @pytest.fixture",
            "    def store(self):",
            f"        return inmemory.{store}",
        ]
    (tmp_path / "test_mine.py").write_text("\n".join(lines))
    # As in a project that leaves pytest-asyncio in its default, strict mode.
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    passed = set(re.findall(r"::(TestMy\w+)::(test\w+)\S* PASSED", run.stdout))
    assert passed == {(f"TestMy{suite.__name__}", name) for suite in SUITES.values() for name in names_in(suite)}


async def test_a_suite_without_a_store_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="override the fixture `store`"):
        StoreContract.store.__wrapped__(StoreContract())  # type: ignore[attr-defined]
