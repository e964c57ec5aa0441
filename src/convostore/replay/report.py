"""Counts and checks of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from convostore.models.base import Model


@dataclass
class Report:
    """Counts by store and kind of record, and the checks.

    Attributes:
        written: records written, or present from an earlier replay.
        read: records read back.
        checks: for each claim, how often it held and how often it did not.
        problems: which claim failed where, without content.
    """

    written: Counter[tuple[str, str]] = field(default_factory=Counter)
    read: Counter[tuple[str, str]] = field(default_factory=Counter)
    checks: dict[str, Counter[bool]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def check(self, claim: str, holds: bool, where: str) -> None:
        """Record whether a claim holds."""
        self.checks.setdefault(claim, Counter())[holds] += 1
        if not holds:
            self.problems.append(f"{claim}: fails at {where}")

    def compare(
        self, store: str, what: str, written: Iterable[Model], read: Iterable[Model | None], where: str
    ) -> None:
        """Count records written and read back, and check that both are equal, in order."""
        before, after = list(written), [item for item in read if item is not None]
        self.written[store, what] += len(before)
        self.read[store, what] += len(after)
        self.check(f"{store}: {what} are read back as they were written", _content(before) == _content(after), where)


def _content(items: list[Any]) -> list[Any]:
    return [item.model_dump() for item in items]
