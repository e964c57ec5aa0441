"""What is measured is every method of the stores."""

from __future__ import annotations

from bench.methods.__main__ import CASES
from convostore.contracts import AuditStore, ConfigStore, MemoryStore, ProfileStore, SessionStore

STORES = {
    "sessions": SessionStore,
    "config": ConfigStore,
    "memory": MemoryStore,
    "audit": AuditStore,
    "profiles": ProfileStore,
}
OPERATORS = {"audit.prepare_months", "audit.drop_bodies"}
"""Of a role of their own, once a month."""


def test_every_method_has_a_case_but_those_of_operators() -> None:
    methods = {f"{name}.{method}" for name, store in STORES.items() for method in store.__abstractmethods__}
    assert methods - {str(case) for case in CASES} == OPERATORS


def test_no_method_has_two_cases() -> None:
    assert len({str(case) for case in CASES}) == len(CASES)
