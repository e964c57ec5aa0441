"""A checker of histories: whether operations that overlapped can be put into one order that explains every answer.

Wing and Gong, "Testing and verifying concurrent objects", 1993, with Lowe's memory of configurations that were tried
("Testing for linearizability", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

State: TypeAlias = "tuple[int, int] | None"
"""Revision and content of a session, or None if it is not there."""


@dataclass(frozen=True)
class Operation:
    """What was asked between two moments, and answered.

    Attributes:
        kind: "get", "save" or "delete".
        start: when it was asked.
        end: when it was answered; infinite if the answer was lost, and then it may have happened later or never.
        expected: the revision that a save expected.
        content: what a save wrote.
        answer: what a get saw; of a save that was refused, the current revision; of a delete, whether it was there.
        refused: whether a save was refused.
    """

    kind: str
    start: float
    end: float
    expected: int = 0
    content: int = 0
    answer: State | int | bool = None
    refused: bool = False


def after(state: State, operation: Operation) -> tuple[bool, State]:
    """Return whether an operation can have been answered so in a state, and the state after it."""
    revision = state[0] if state else 0
    if operation.kind == "get":
        return operation.answer == state, state
    if operation.kind == "delete":
        fits = math.isinf(operation.end) or operation.answer == (state is not None)
        return fits, None
    if operation.refused:
        return operation.expected != revision and operation.answer == (revision or None), state
    return operation.expected == revision, (revision + 1, operation.content)


def linearizable(history: Sequence[Operation], initial: State = None) -> bool:
    """Return whether a history of one session has an order that explains it."""
    operations = sorted(history, key=lambda operation: operation.start)
    answered = sum(1 << n for n, operation in enumerate(operations) if not math.isinf(operation.end))
    tried: set[tuple[int, State]] = set()
    stack = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & answered == answered:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        first_answer = min(op.end for n, op in enumerate(operations) if not done >> n & 1)
        for n, operation in enumerate(operations):
            if operation.start > first_answer:
                break
            if not done >> n & 1:
                fits, following = after(state, operation)
                if fits:
                    stack.append((done | 1 << n, following))
    return False
