"""What the how-to pages show is so."""

from __future__ import annotations

import re
from pathlib import Path

from convostore.replay import (
    AgentRecord,
    ConversationRecord,
    RuleRecord,
    ScenarioRecord,
    TemplateRecord,
    VariableRecord,
    read,
)

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "replay.md"


def test_the_records_of_the_replay_page_are_records(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "example.jsonl"
    path.write_text(example)
    assert [record.kind for record in read(path)] == ["agent", "scenario", "conversation"]


def test_the_replay_page_lists_every_field_of_every_record() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
    for model in (AgentRecord, ConversationRecord, RuleRecord, ScenarioRecord, TemplateRecord, VariableRecord):
        row = rows[model.model_fields["kind"].default]
        for name, field in model.model_fields.items():
            if name != "kind":
                assert f"`{name}{'' if field.is_required() else '?'}`" in row, (model, name)
