"""Consistency checkers: whether concurrent operations have a sequential order that explains their results.

Wing and Gong, "Testing and verifying concurrent objects", 1993, with Lowe's memoization of configurations ("Testing for
linearizability", 2017).
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
    """An operation of a history.

    Attributes:
        kind: "get", "save" or "delete".
        start: when it was invoked.
        end: when it returned; infinite if its outcome is unknown: it may take effect later or never.
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
    """Return whether an operation can have its result in a state, and the state after it."""
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
    """Return whether a history of one session is linearizable."""
    operations = sorted(history, key=lambda operation: operation.start)
    returned = sum(1 << n for n, operation in enumerate(operations) if not math.isinf(operation.end))
    tried: set[tuple[int, State]] = set()
    stack = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & returned == returned:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        first_end = min(op.end for n, op in enumerate(operations) if not done >> n & 1)
        further = []
        for n, operation in enumerate(operations):
            if operation.start > first_end:
                break
            if not done >> n & 1:
                fits, following = after(state, operation)
                if fits and following == state and not math.isinf(operation.end):
                    # What changes nothing and may come now excludes nothing by coming first.
                    further = [(done | 1 << n, state)]
                    break
                if fits:
                    further.append((done | 1 << n, following))
        stack += further
    return False


def regular(history: Sequence[Operation], initial: State = None) -> bool:
    """Return whether a history of one session is that of a regular register, with linearizable writes.

    Each read alone is linearizable with the writes. Two reads during a write may return it and then the revision before
    it, which linearizability forbids. (L. Lamport, "On interprocess communication", 1986.)
    """
    writes = [operation for operation in history if operation.kind != "get"]
    reads = [operation for operation in history if operation.kind == "get"]
    return linearizable(writes, initial) and all(linearizable([*writes, read], initial) for read in reads)
