"""Statements, functions, scripts and keys of which one tenant condition is neutralised, in a live process."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Set
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from convostore.call.call import Call, Proceed
from convostore.errors import ConnectionError, StoreError
from convostore.postgres.driver import UnresetConnection
from convostore.postgres.tenancy import BIND_TENANT
from convostore.testing.isolation.contract import check_reads, check_writes, contract_of, filled, state, write_groups
from convostore.testing.isolation.worlds import Ids
from tests.isolation.conditions import NEUTRALISED, mutants
from tests.postgres.databases import connected, fresh_database

_FILTER = re.compile(r' AND (?:t\."\w+" (?:=|<|>|<=|>=) \$\d+::\w+|\(t\."\w+" IS NULL OR t\."\w+" [<>]=? \$\d+::\w+\))')
_NUMBER = re.compile(r"\$\d+")


@dataclass
class Sending:
    """What the connections of this process send.

    Attributes:
        rewrite: what is sent in place of statements.
        seen: the statements, by the phase in which they were sent.
    """

    rewrite: dict[str, str] = field(default_factory=dict)
    phase: str = ""
    seen: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def begin(self, phase: str) -> None:
        """Note that a phase begins."""
        self.phase = phase

    def sent(self, statement: str) -> str:
        """Return what to send."""
        self.seen[self.phase][statement] = None
        return self.rewrite.get(statement, statement)


@contextmanager
def sending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    """Let every statement of the stores pass through here."""
    passing = Sending()
    for name in ("fetch", "fetchrow", "fetchval", "fetchmany"):
        original = getattr(UnresetConnection, name)

        def method(self: Any, statement: str, *args: Any, original: Any = original, **named: Any) -> Any:
            return original(self, passing.sent(statement), *args, **named)

        method.__name__ = name
        monkeypatch.setattr(UnresetConnection, name, method, raising=False)
    yield passing


def shape_of(statement: str) -> str:
    """Return what statements that differ in their filters have in common."""
    return _NUMBER.sub("$", _FILTER.sub("", statement))


@dataclass(frozen=True)
class Mutation:
    """A condition of a shape of statement.

    Attributes:
        name: what stands around it.
        neutralised: what to send without the condition.
        closed: what to send with one that is never true, which is noticed wherever the condition is reached.
    """

    name: str
    neutralised: dict[str, str]
    closed: dict[str, str]


def mutations(statements: dict[str, None]) -> Iterator[Mutation]:
    """Yield each condition of each shape of statement."""
    shapes: defaultdict[str, list[str]] = defaultdict(list)
    for statement in statements:
        shapes[shape_of(statement)].append(statement)
    for same in shapes.values():
        both = [{text: list(mutants(text, never=never)) for text in same} for never in (False, True)]
        for number in range(len(both[0][same[0]])):
            neutralised, closed = ({text: found[number] for text, found in texts.items()} for texts in both)
            yield Mutation(f"{_titled(same[0])}: {_excerpt(neutralised[same[0]])}", neutralised, closed)


def _titled(statement: str) -> str:
    tables = re.findall(r"convostore\.\"?(\w+)", statement)
    verb = next((verb for verb in ("INSERT", "UPDATE", "DELETE") if verb in statement), "SELECT")
    return f"{verb} {', '.join(dict.fromkeys(name for name in tables if name != 'bind'))}"


def _excerpt(mutant: str) -> str:
    """Return what stands around the place of a neutralised condition."""
    before, _, after = re.sub(r"\s+", " ", mutant.replace(BIND_TENANT, "<bound>")).partition(NEUTRALISED)
    return f"{before[-90:]}{NEUTRALISED}{after[:60]}"


REASONS = {
    r"\*/ AND (t\.id = \$2 AND )?t\.write_id = \(TABLE deleted\)": "a write id is that of one call, so of one tenant",
    r'\*/ AND \("tenant_id", ': "the key that is compared next has the tenant in it",
    r'\*/ AND t\."?session_id"? = ': "a session's id is one tenant's alone",
    r"copy_generation AS e .*\*/\)": "it is the generation of copies, which are read by tenant",
    r"\*/ AND [tr]\.kind = [rb]\.kind AND": "record and body are compared by the moment of recording too",
    r"\*/ AND (r\.kind = \$2 AND r\.record_id|r\.session_id = \$2 AND r\.turn_number)": "the body is read by tenant",
    r"\*/ AND f\.status = 'active' AND f\.expires_at": "candidates, which the update compares again",
    r"\*/ AND p\.id IN \(SELECT profile_id FROM expiring\)": "locked only; the update compares again",
    r"JOIN convostore\.profile AS p ON .*\*/ AND p\.id = chain": "the end of the chain is read by tenant",
    r"\*/ AND b\.id = c\.id AND b\.embedding_model": "the candidate and its episode are read by tenant",
}
"""Why a mutant that is reached and changes nothing is right: by what stands around its place."""

REPEATED = r"convostore\.profile AS p WHERE .*\*/ AND p\.id IN \(SELECT id FROM expected\)"
"""Where a mutant is endless: a twin's row is not the one that was expected, so the change is tried again and again."""


def explained(name: str) -> str | None:
    """Return why a mutant that is reached may survive, or None."""
    return next((reason for pattern, reason in REASONS.items() if re.search(pattern, name)), None)


Phase = Callable[[Any], Any]

READS = "test_what_a_tenant_reads_does_not_depend_on_a_twin"
WRITES = "test_what_a_tenant_writes_does_not_depend_on_a_twin_nor_changes_it"
"""The tests of the contract, in whose parts mutants are tried."""

ENDLESS = "endless"
"""The fate of a mutant with which a call meets its deadline, and no part fails otherwise."""

_PATIENCE = 10.0
_PATIENCE_BY_CONTROL = 20
"""What a call may take beside a mutation: this many seconds, and this many times the slowest call without one."""


class _Clock:
    """An interceptor that knows the slowest call, in seconds, and whether one met its deadline."""

    def __init__(self) -> None:
        self.slowest = 0.0
        self.late = False

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        started = time.monotonic()
        try:
            return await proceed(call)
        except ConnectionError as error:
            self.late = self.late or error.code == "timeout"
            raise
        finally:
            self.slowest = max(self.slowest, time.monotonic() - started)


@dataclass
class Trial:
    """The contract of isolation on a store, in parts, each of which has passed without a mutation.

    Attributes:
        parts: what to run, by name.
        store: the store, whose calls have much more time than they needed.
        clock: of its calls.
        further: the names of the parts that are not the contract's.
    """

    parts: dict[str, Phase]
    store: Any
    clock: _Clock
    further: Set[str] = frozenset()

    async def fate(self, names: Iterable[str]) -> str:
        """Return which test the first of these parts that fails belongs to, and how; `ENDLESS`; or nothing.

        A call that only takes too long is no failure: the machine may be busy.
        """
        endless = ""
        for name in names:
            self.clock.late = False
            try:
                await self.parts[name](self.store)
            except (AssertionError, StoreError, pytest.fail.Exception) as error:
                if not self.clock.late:
                    said = f"{type(error).__name__}: {error}".partition("\n")[0]
                    return f"{self._test(name)}: {said[:120]}"
                endless = ENDLESS
        return endless

    def _test(self, name: str) -> str:
        if name in self.further:
            return f"the part {name} beside the contract"
        return READS if name == "reads" else f"{WRITES}, {name}"


async def tried(store: Any, further: Mapping[str, Phase] = {}, started: Callable[[str], object] = str) -> Trial:
    """Run every part of the contract without a mutation, and return what to try mutants in.

    Args:
        store: the store.
        further: parts besides the contract's.
        started: is told the name of each part before it runs.
    """
    clock = _Clock()
    watched = store.with_interceptors(clock)
    parts = {**await phases_of(watched), **further}
    for name, part in parts.items():
        started(name)
        await part(watched)
    started("")
    return Trial(parts, watched.within(max(_PATIENCE, _PATIENCE_BY_CONTROL * clock.slowest)), clock, further.keys())


async def phases_of(store: Any) -> dict[str, Phase]:
    """Return what the contract of isolation checks of a store, part by part."""
    untouched = await state(store, await filled(store, Ids(), twin=True))
    found: dict[str, Phase] = {"reads": check_reads}
    for methods in write_groups(contract_of(store)):
        found[methods[0].name] = partial(check_writes, methods=methods, untouched=untouched)
    return found


@asynccontextmanager
async def unprotected_database(dsn: str, migrate: Callable[[str], Any]) -> AsyncIterator[str]:
    """A database of its own whose tables have no row-level security."""
    async with fresh_database(dsn) as fresh:
        await migrate(fresh)
        async with connected(fresh) as admin:
            tables = await admin.fetch(
                "SELECT oid::regclass::text FROM pg_class "
                "WHERE relnamespace = 'convostore'::regnamespace AND relrowsecurity"
            )
            for (table,) in tables:
                await admin.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        yield fresh
