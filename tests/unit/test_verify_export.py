"""An export is verified by a script that uses the standard library alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from convostore.domain import verify_export
from convostore.domain.codec import canonical
from convostore.inmemory import InMemoryAuditStore
from convostore.testing.factories import full_event, full_turn, make_event, make_turn

TENANT, SESSION = UUID(int=3), UUID(int=4)
GOOD = "8 records in 4 chains and 8 bodies are as they were recorded.\n"


@pytest.fixture
async def trail(tmp_path: Path) -> list[str]:
    """The lines of an export, with its anchors in a file beside it."""
    store = InMemoryAuditStore()
    await store.save_turns([make_turn(TENANT, session_id=SESSION, turn_number=n) for n in range(4)])
    await store.save_events([make_event(TENANT), make_event(TENANT), full_event(TENANT)])
    await store.save_turn(full_turn(TENANT))
    anchors = [canonical(anchor) async for anchor in store.iter_anchors(TENANT)]
    (tmp_path / "anchors.jsonl").write_text("\n".join(anchors))
    return [line async for line in store.export(TENANT)]


def run(folder: Path, lines: list[str], *arguments: str) -> tuple[int, str, str]:
    """Verify lines by an isolated copy of the script; return exit code, output and errors."""
    script = folder / "verify_export.py"
    script.write_bytes(Path(verify_export.__file__).read_bytes())
    (folder / "trail.jsonl").write_text("".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-I", "-S", script.name, "trail.jsonl", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def place(lines: list[str], sequence: int = 3) -> int:
    """Return the index of a record of the session."""
    found = [n for n, line in enumerate(lines) if f'"sequence":{sequence},' in line and f'"{SESSION}"' in line]
    return found[0]


def test_an_unchanged_export_is_valid(trail: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, trail) == (0, GOOD, "")
    assert run(tmp_path, trail, "--anchors", "anchors.jsonl") == (0, GOOD, "")


def test_it_writes_anchors_for_later_verifications(trail: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, trail, "--write-anchors", "written.jsonl")[0] == 0
    written, kept = ((tmp_path / name).read_text().splitlines() for name in ("written.jsonl", "anchors.jsonl"))
    assert list(map(json.loads, written)) == list(map(json.loads, kept))


@pytest.mark.parametrize(
    ("reason", "altered"),
    [
        ("body_changed", lambda line: line.replace("Hello!", "Bye!")),
        ("changed", lambda line: line.replace('"turn_number":2', '"turn_number":7')),
        ("changed", lambda line: line.replace('"sequence":3', '"sequence":2')),
    ],
)
def test_an_altered_line_is_named(trail: list[str], tmp_path: Path, reason: str, altered: Any) -> None:
    at = place(trail)
    record = json.loads(trail[at])
    trail[at] = altered(trail[at])
    code, output, _ = run(tmp_path, trail)
    assert code == 1
    assert output.splitlines()[0].startswith(f"{reason}: session {SESSION}, record ")
    assert record["record_id"] in output


def test_a_truncated_export_is_detected_and_named_by_anchors(trail: list[str], tmp_path: Path) -> None:
    assert run(tmp_path, trail[:-1])[:2] == (
        1,
        f"miscounted: the last line tells of no number of records, there are 8\n{GOOD}",
    )
    whole = '{"kind": "end", "records": %d}'
    at = place(trail)
    cut = [*trail[:at], *trail[at + 2 : -1], whole % 6]
    assert run(tmp_path, cut)[0] == 0
    code, output, _ = run(tmp_path, cut, "--anchors", "anchors.jsonl")
    assert (code, output.splitlines()[0]) == (1, f"missing: session {SESSION}, record 3")
    lost = [line for line in trail[:-1] if str(SESSION) not in line]
    code, output, _ = run(tmp_path, [*lost, whole % 4], "--anchors", "anchors.jsonl")
    assert (code, output.splitlines()[0]) == (1, f"missing: session {SESSION}, record 1")


def test_reordered_and_removed_lines_are_named(trail: list[str], tmp_path: Path) -> None:
    at = place(trail)
    moved = [*trail[:at], trail[at + 1], trail[at], *trail[at + 2 :]]
    removed = [*trail[:at], *trail[at + 1 :]]
    for lines in (moved, removed):
        code, output, _ = run(tmp_path, lines)
        assert (code, output.splitlines()[0]) == (1, f"missing: session {SESSION}, record 3")
    twice = [*trail[:-1], *trail[2:-1], trail[-1]]
    code, output, _ = run(tmp_path, twice, "--anchors", "anchors.jsonl")
    assert (code, output.splitlines()[0][:9]) == (1, "unlinked:")
    code, output, _ = run(tmp_path, [*trail[: at + 1], trail[at], *trail[at + 1 :]])
    assert (code, output.splitlines()[0][:9]) == (1, "unlinked:")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (['{"kind": "turn"'], "line 1: "),
        (['{"kind": "turn", "tenant_id": 1, "session_id": 2}'], "'<=' not supported"),
        (["[]"], "line 1: not an object"),
        (['{"kind": "turn"}'], "a record or anchor has no 'tenant_id'"),
    ],
)
def test_an_invalid_export_has_an_error_of_its_own(tmp_path: Path, lines: list[str], complaint: str) -> None:
    code, output, errors = run(tmp_path, lines)
    assert (code, output) == (2, "")
    assert errors.startswith(complaint)
    assert "Traceback" not in errors


def test_a_missing_file_has_an_error_of_its_own(trail: list[str], tmp_path: Path) -> None:
    code, _, errors = run(tmp_path, trail, "--anchors", "nowhere.jsonl")
    assert code == 2
    assert "nowhere.jsonl" in errors
