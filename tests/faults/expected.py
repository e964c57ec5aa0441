"""The table of what a call may make of each kind of fault, by what repeating the call does.

Every failure is a retryable `ConnectionError` that says why: by its code, or by its cause.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple, TypeAlias

from convostore.call.effects import Effect
from convostore.errors import ConnectionError, Outcome, StoreError


class Kind(Enum):
    """What a fault does to a call."""

    SLOW = "everything arrives, late"
    CUT_ONCE = "one connection is lost"
    UNREACHABLE = "nothing can be sent"
    UNDELIVERED = "what is sent does not arrive"
    UNANSWERED = "what is sent arrives, and no answer comes back"
    UNHEARD = "what is sent is done, and nobody hears of it"
    REFUSED = "the server refuses to write"
    ENDED = "the server ends what is under way, and says so"
    LOST_AT_WORK = "the server is lost while it works"
    KILLED_BEFORE = "the server is killed before a request reaches it, and started again"
    KILLED_AFTER = "the server is killed before its answer arrives, and started again"


Succeeds: TypeAlias = Literal["always", "perhaps", "never"]


class Row(NamedTuple):
    """How calls may end.

    Attributes:
        succeeds: whether they answer, be it with an error of the domain such as a conflict.
        outcomes: of those that fail.
        changes: whether one that fails may have changed what is stored; it then says `"unknown"`.
    """

    succeeds: Succeeds
    outcomes: frozenset[Outcome] = frozenset()
    changes: bool = False


_NOT_APPLIED: frozenset[Outcome] = frozenset({"not_applied"})
_UNKNOWN: frozenset[Outcome] = frozenset({"unknown"})
_EITHER = _NOT_APPLIED | _UNKNOWN

ALWAYS = Row("always")

READ, IDEMPOTENT, NON_IDEMPOTENT = Effect.READ, Effect.IDEMPOTENT, Effect.NON_IDEMPOTENT

EXPECTED: dict[tuple[Kind, Effect], Row] = {
    (Kind.SLOW, READ): ALWAYS,
    (Kind.SLOW, IDEMPOTENT): ALWAYS,
    (Kind.SLOW, NON_IDEMPOTENT): ALWAYS,
    # What may be repeated is, and recognises itself.
    (Kind.CUT_ONCE, READ): ALWAYS,
    (Kind.CUT_ONCE, IDEMPOTENT): ALWAYS,
    (Kind.CUT_ONCE, NON_IDEMPOTENT): Row("perhaps", _UNKNOWN, changes=True),
    (Kind.UNREACHABLE, READ): Row("never", _NOT_APPLIED),
    (Kind.UNREACHABLE, IDEMPOTENT): Row("never", _NOT_APPLIED),
    (Kind.UNREACHABLE, NON_IDEMPOTENT): Row("never", _NOT_APPLIED),
    # The client cannot tell this from the next; the state can.
    (Kind.UNDELIVERED, READ): Row("never", _NOT_APPLIED),
    (Kind.UNDELIVERED, IDEMPOTENT): Row("never", _EITHER),
    (Kind.UNDELIVERED, NON_IDEMPOTENT): Row("never", _EITHER),
    (Kind.UNANSWERED, READ): Row("never", _NOT_APPLIED),
    (Kind.UNANSWERED, IDEMPOTENT): Row("never", _EITHER, changes=True),
    (Kind.UNANSWERED, NON_IDEMPOTENT): Row("never", _EITHER, changes=True),
    (Kind.UNHEARD, READ): Row("never", _NOT_APPLIED),
    # A write may begin with a read.
    (Kind.UNHEARD, IDEMPOTENT): Row("never", _EITHER, changes=True),
    (Kind.UNHEARD, NON_IDEMPOTENT): Row("never", _EITHER, changes=True),
    # A write that has nothing to do is not refused.
    (Kind.REFUSED, READ): ALWAYS,
    (Kind.REFUSED, IDEMPOTENT): Row("perhaps", _NOT_APPLIED),
    (Kind.REFUSED, NON_IDEMPOTENT): Row("perhaps", _NOT_APPLIED),
    (Kind.ENDED, READ): Row("never", _NOT_APPLIED),
    (Kind.ENDED, IDEMPOTENT): Row("never", _NOT_APPLIED),
    (Kind.ENDED, NON_IDEMPOTENT): Row("never", _NOT_APPLIED),
    (Kind.LOST_AT_WORK, READ): Row("never", _NOT_APPLIED),
    (Kind.LOST_AT_WORK, IDEMPOTENT): Row("never", _EITHER),
    (Kind.LOST_AT_WORK, NON_IDEMPOTENT): Row("never", _EITHER),
    # Attempts may last until it is back.
    (Kind.KILLED_BEFORE, READ): Row("perhaps", _NOT_APPLIED),
    (Kind.KILLED_BEFORE, IDEMPOTENT): Row("perhaps", _EITHER),
    (Kind.KILLED_BEFORE, NON_IDEMPOTENT): Row("perhaps", _EITHER),
    (Kind.KILLED_AFTER, READ): Row("perhaps", _NOT_APPLIED),
    (Kind.KILLED_AFTER, IDEMPOTENT): Row("perhaps", _EITHER, changes=True),
    (Kind.KILLED_AFTER, NON_IDEMPOTENT): Row("perhaps", _EITHER, changes=True),
}


def check(row: Row, error: StoreError | None, *, changed: bool, answers_alone: bool = False) -> None:
    """Fail unless a call has ended as a row says.

    Args:
        row: of the table.
        error: the failure; None if the call has answered.
        changed: whether what is stored has changed.
        answers_alone: whether the call asks no server.
    """
    if error is None:
        assert row.succeeds != "never" or answers_alone, "it answered, and no server was there"
        return
    assert row.succeeds != "always", f"it failed: {error!r}"
    assert type(error) is ConnectionError, f"the wrong class: {error!r}"
    assert error.retryable, f"not retryable: {error!r} {error.code}"
    assert error.__cause__ is not None or error.code, f"it does not say why: {error!r}"
    assert error.outcome in row.outcomes, f"the wrong outcome: {error.outcome}, {error!r} {error.code}"
    assert not changed or error.outcome == "unknown", f"it was applied, and says {error.outcome}: {error!r}"
    assert not changed or row.changes, f"it was applied, and could not arrive: {error!r}"
