"""Verifies an exported audit trail. It needs nothing but Python's standard library, so it can go with the export.

    python verify_export.py trail.jsonl --anchors anchors.jsonl

An export has one JSON object per line: a record, and the body it is of as a string. Records that belong together are a
chain: those of one session, or the tenant's that belong to none, numbered by `sequence` from 1. The tenant's own chain
comes first, then those of sessions by id. The last line has the `kind` "end" and the number of `records`, so that a
file that was cut off is noticed.

- `digest` is the SHA-256 of the UTF-8 bytes of `body`. Bodies may be dropped after a while (`body_dropped`), by the
  month and all of a month; digests stay. `misfiled` is true if the database listed the body under other values than
  it has.
- `hash` is the SHA-256 of ten lines of UTF-8 text, joined by line feeds, without one at the end: `convostore audit 1`
  (1 is the `version`), `tenant_id`, `kind`, `record_id`, `session_id`, `turn_number`, `sequence`, `recorded_at`,
  `previous_hash` and `digest`, as they stand in the export; null is an empty line.
- `previous_hash` is the `hash` of the record before it in the chain, 64 zeros for the first.

So nobody can change, remove or reorder a record without computing every later hash of its chain anew. An anchor, the
`sequence` and `hash` of a chain's last record, noted elsewhere at the time, shows that too.

Exit codes: 0 everything is as it was recorded, 1 something is not, 2 a file cannot be read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

VERSION = 1
END = "end"
GENESIS = "0" * 64

_HASHED = (
    *("tenant_id", "kind", "record_id", "session_id", "turn_number", "sequence", "recorded_at"),
    *("previous_hash", "digest"),
)

Record = Mapping[str, Any]
Problem = dict[str, Any]


def digest_of(body: str) -> str:
    """Return the digest of a body."""
    return sha256(body.encode(errors="surrogatepass")).hexdigest()


def hash_of(record: Record) -> str:
    """Return the hash that a record must have."""
    values = (record[name] for name in _HASHED)
    lines = (f"convostore audit {record['version']}", *("" if value is None else str(value) for value in values))
    return sha256("\n".join(lines).encode()).hexdigest()


class Verifier:
    """Checks records, chain by chain, each chain in its order, in memory that does not grow with them.

    Attributes:
        chains: how many chains were seen.
        records: how many records were found right.
        bodies: how many bodies were found right.
        months_dropped: the months, such as `2026-11`, in which records have a body that was dropped.
    """

    def __init__(
        self,
        anchors: Iterable[Record] = (),
        ended: Callable[[dict[str, Any]], None] | None = None,
        starts: Iterable[Record] = (),
        after: Record | None = None,
    ) -> None:
        """Prepare a verification.

        Args:
            anchors: what chains must contain: objects with `tenant_id`, `session_id`, `sequence` and `hash`.
            ended: is given the anchor of each chain at its end.
            starts: anchors with whose records chains begin, one per chain; other chains begin with their first record.
            after: the anchor of the last record that was checked before, behind which the first one follows.
        """
        self.chains = self.records = self.bodies = 0
        self.months_dropped: set[str] = set()
        self._ended = ended
        self._chain: tuple[str, str | None] | None = None
        self._place = ("", "")
        self._sequence = 0
        self._hash: str | None = GENESIS
        self._starts = {(start["tenant_id"], start["session_id"]): int(start["sequence"]) for start in starts}
        if after:
            self._chain = after["tenant_id"], after["session_id"]
            self._place = self._chain[0], self._chain[1] or ""
            self._sequence, self._hash = after["sequence"], after["hash"]
        self._anchors: dict[tuple[str, str | None], dict[int, str]] = defaultdict(dict)
        for anchor in anchors:
            self._anchors[anchor["tenant_id"], anchor["session_id"]][anchor["sequence"]] = anchor["hash"]

    def check(self, record: Record) -> Problem | None:
        """Check the next record; return what is wrong, after which nothing more should be checked."""
        chain = (record["tenant_id"], record["session_id"])
        if chain != self._chain:
            if cut := self._end():
                return cut
            place = (chain[0], chain[1] or "")
            # In their order no chain can come a second time, with another history.
            if place <= self._place:
                return _problem("unlinked", record)
            self._chain, self._place, self._sequence = chain, place, self._starts.get(chain, 1) - 1
            self._hash = None if self._sequence else GENESIS
            self.chains += 1
        if record["sequence"] > self._sequence + 1:
            return missing(chain[1], self._sequence + 1)
        if reason := self._reason(record):
            return _problem(reason, record)
        self._sequence, self._hash = record["sequence"], record["hash"]
        self.records += 1
        if record["body"] is None:
            self.months_dropped.add(record["recorded_at"][:7])
        else:
            self.bodies += 1
        return None

    def pass_by(self, anchor: Record) -> None:
        """Count a chain that ends at an anchor as it did, of which no record is checked."""
        self._anchors.pop((anchor["tenant_id"], anchor["session_id"]), None)
        self.chains += 1
        if self._ended:
            self._ended(dict(anchor))

    def end(self) -> Problem | None:
        """Check, after the last record, that no anchor speaks of more; return what is missing."""
        if cut := self._end():
            return cut
        return next((missing(chain[1], self._starts.get(chain, 1)) for chain in self._anchors), None)

    def _end(self) -> Problem | None:
        if self._chain is None:
            return None
        tenant_id, session_id = self._chain
        if any(sequence > self._sequence for sequence in self._anchors.pop(self._chain, ())):
            return missing(session_id, self._sequence + 1)
        if self._ended:
            anchor = {"tenant_id": tenant_id, "session_id": session_id, "sequence": self._sequence, "hash": self._hash}
            self._ended(anchor)
        self._chain = None
        return None

    def _reason(self, record: Record) -> str | None:
        body, anchored = record["body"], self._anchors.get((record["tenant_id"], record["session_id"]), {})
        if record["version"] != VERSION or record["hash"] != hash_of(record):
            return "changed"
        if record["sequence"] <= self._sequence or self._hash not in (None, record["previous_hash"]):
            return "unlinked"
        if anchored.get(record["sequence"], record["hash"]) != record["hash"]:
            return "anchor"
        if body is None:
            return None if record["body_dropped"] else "body_missing"
        if digest_of(body) != record["digest"]:
            return "body_changed"
        if record["body_dropped"]:
            return "retention"
        return "misfiled" if record["misfiled"] else None


def check_export(lines: Iterable[Record], verifier: Verifier) -> Problem | None:
    """Check an export's lines; return what is wrong."""
    told = None
    for line in lines:
        if line["kind"] == END:
            told = line["records"]
        elif problem := verifier.check(line):
            return problem
    if problem := verifier.end():
        return problem
    if told != verifier.records:
        return {"reason": "miscounted", "told": told, "found": verifier.records}
    return None if told else {"reason": "unknown"}


def _problem(reason: str, record: Record) -> Problem:
    return {"reason": reason, **{name: record[name] for name in ("session_id", "sequence", "kind", "record_id")}}


def missing(session_id: str | None, sequence: int) -> Problem:
    """Return the problem of a record that should be there."""
    return {"reason": "missing", "session_id": session_id, "sequence": sequence, "kind": None, "record_id": None}


def described(problem: Problem) -> str:
    """Return a problem as a line of text."""
    if problem["reason"] == "miscounted":
        told = "no number of records" if problem["told"] is None else f"{problem['told']} records"
        return f"miscounted: the last line tells of {told}, there are {problem['found']}"
    if problem["reason"] == "unknown":
        return "unknown: there are no records, so there is nothing to verify"
    chain = f"session {problem['session_id']}" if problem["session_id"] else "the tenant's own chain"
    what = f", {problem['kind']} {problem['record_id']}" if problem["record_id"] else ""
    return f"{problem['reason']}: {chain}, record {problem['sequence']}{what}"


def read(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON Lines.

    Raises:
        ValueError: a line is no object.
    """
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"line {number}: not an object")
        yield value


def main(arguments: list[str] | None = None) -> int:
    """Verify an export from the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Verify an exported audit trail.")
    parser.add_argument("export", help="JSON Lines; - is standard input")
    parser.add_argument("--anchors", help="JSON Lines of anchors of these chains, kept since an earlier verification")
    parser.add_argument("--write-anchors", metavar="FILE", help="where to write the anchors of these chains")
    options = parser.parse_args(arguments)
    try:
        with contextlib.ExitStack() as opened:
            written = opened.enter_context(open(options.write_anchors, "w")) if options.write_anchors else None
            anchors = opened.enter_context(open(options.anchors, encoding="utf-8")) if options.anchors else ()
            export = (
                sys.stdin if options.export == "-" else opened.enter_context(open(options.export, encoding="utf-8"))
            )
            verifier = Verifier(
                read(anchors), lambda anchor: print(json.dumps(anchor), file=written) if written else None
            )
            problem = check_export(read(export), verifier)
    except KeyError as error:
        print(f"a record or anchor has no {error}", file=sys.stderr)
        return 2
    except (OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if problem:
        print(described(problem))
    found = f"{verifier.records} records in {verifier.chains} chains and {verifier.bodies} bodies"
    print(f"{found} are as they were recorded.")
    if verifier.months_dropped:
        print(f"Bodies were dropped in {', '.join(sorted(verifier.months_dropped))}.")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
