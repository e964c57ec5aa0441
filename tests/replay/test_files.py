"""Files of records are read; an error names file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from convostore.errors import ValidationError
from convostore.replay import AgentRecord, read

AGENT = '{"kind": "agent", "name": "A"}'


def test_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"\n{AGENT}\n\n{AGENT}")
    assert list(read(path)) == [AgentRecord(name="A")] * 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "line 2: .*JSON"),
        ("{}", "line 2: .*kind"),
        ('{"kind": "robot"}', "line 2: .*robot"),
        ('{"kind": "agent"}', r"line 2: agent\.name"),
        ('{"kind": "agent", "name": ""}', r"line 2: agent\.name"),
        ('{"kind": "agent", "name": "A", "age": 3}', r"line 2: agent\.age"),
        ('{"kind": "scenario", "agent": "A", "name": "S", "steps": []}', r"line 2: scenario\.steps"),
        ('{"kind": "rule", "agent": "A", "name": "R", "when": "w", "then": "t", "priority": 101}', "priority"),
        ('{"kind": "variable", "agent": "A", "name": "No Name", "tool": "t"}', r"variable\.name"),
    ],
)
def test_an_invalid_line_is_named_with_its_error(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{AGENT}\n{line}\n")
    records = read(path)
    assert next(records) == AgentRecord(name="A")
    with pytest.raises(ValidationError, match=rf"a\.jsonl, .*{problem}"):
        next(records)


@pytest.mark.parametrize(("name", "content"), [("a.json", b"{"), ("a.json", b"\xff\xfe{"), ("a.json", b"")])
def test_invalid_json_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValidationError, match="is not JSON"):
        list(read(tmp_path / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"none\.jsonl: No such file"):
        list(read(tmp_path / "none.jsonl"))
