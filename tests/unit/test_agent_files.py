"""An agent's configuration as files: what is written, what is read back, and what is kept without being in a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.errors import ConflictError, NotFoundError, ValidationError
from convostore.inmemory import InMemoryConfigStore
from convostore.models import Agent, ScenarioStep, StepTransition
from convostore.models.config import ConfigEntity
from convostore.operations.agent_files import Key, export_agent, load_agent
from convostore.operations.agent_import import import_agent
from convostore.testing.factories import (
    make_agent,
    make_rule,
    make_scenario,
    make_template,
    make_tool_activation,
    make_variable,
)

TENANT = uuid4()


@pytest.fixture
def store() -> InMemoryConfigStore:
    return InMemoryConfigStore()


@pytest.fixture
async def agent(store: InMemoryConfigStore) -> Agent:
    """An agent with two parts of each kind, one of them disabled where that is possible."""
    agent = make_agent(TENANT, name="desk", metadata={"embedding": [1], "steps": [{"embedding": "kept"}]})
    await store.save_agent(agent)
    for number in range(2):
        on = number == 0
        await store.save_rule(
            make_rule(TENANT, agent.id, name="Grüße / greet!", enabled=on, embedding=[1.0, 0.5], embedding_model="m")
        )
        scenario = make_scenario(TENANT, agent.id, enabled=on, entry_condition_text="tea", embedding_model="m")
        onward = StepTransition(to_step_id=uuid4(), condition_text="yes", condition_embedding=[0.5, number + 1.0])
        scenario.entry_condition_embedding = [2.0, 1.0]
        scenario.steps = [ScenarioStep(scenario_id=scenario.id, name="greet", transitions=[onward])]
        await store.save_scenario(scenario)
        await store.save_template(make_template(TENANT, agent.id))
        await store.save_variable(make_variable(TENANT, agent.id, name=f"v{number}"))
        await store.save_tool_activation(
            make_tool_activation(TENANT, agent.id, tool_id=f"t.{number}", policy_override={"embedding": None})
        )
    return agent


async def stored(store: InMemoryConfigStore, agent_id: UUID, tenant: UUID = TENANT) -> dict[Key, ConfigEntity]:
    return {key: entry.item for key, entry in (await load_agent(store, tenant, agent_id)).items()}


async def done(store: InMemoryConfigStore, directory: Path, tenant: UUID = TENANT, **options: Any) -> dict[str, int]:
    """Import a directory; return how many parts became what."""
    return dict(Counter(change.what for change in await import_agent(store, tenant, directory, **options)))


async def test_each_part_is_a_file_that_holds_what_its_author_decides(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    files = await export_agent(store, TENANT, agent.id, tmp_path)
    assert {*files.values()} == {"written"}
    assert [*files] == [path.relative_to(tmp_path) for path in files_in(tmp_path, "**")]
    folders = sorted(str(path.parent) for path in files)
    assert folders == sorted(
        [".", *(each for each in ("rules", "scenarios", "templates", "variables", "tool_activations") for _ in "ab")]
    )
    (rule, *_) = files_in(tmp_path, "rules")
    assert rule.name.startswith("grüße-greet.")
    document = json.loads(rule.read_text("utf-8"))
    assert [*document][:2] == ["id", "name"]
    assert document["name"] == "Grüße / greet!"
    assert not {"tenant_id", "agent_id", "revision", "created_at", "embedding", "embedding_model"} & document.keys()
    assert json.loads((tmp_path / "agent.json").read_text("utf-8"))["metadata"] == agent.metadata


async def test_a_second_export_writes_nothing_and_a_file_keeps_its_name(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    first = await export_agent(store, TENANT, agent.id, tmp_path)
    assert {*(await export_agent(store, TENANT, agent.id, tmp_path)).values()} == {"unchanged"}
    variable = (await store.get_variables(TENANT, agent.id))[0]
    variable.name = "renamed"
    await store.save_variable(variable)
    again = await export_agent(store, TENANT, agent.id, tmp_path)
    assert [*again] == [*first]
    assert sorted(again.values()) == ["unchanged"] * 10 + ["written"]


async def test_files_of_what_is_gone_are_deleted_only_when_asked_for(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path)
    await store.delete_tool_activation(TENANT, agent.id, "t.1")
    assert sorted({*(await export_agent(store, TENANT, agent.id, tmp_path)).values()}) == ["left", "unchanged"]
    assert sorted({*(await export_agent(store, TENANT, agent.id, tmp_path, delete=True)).values()}) == [
        "deleted",
        "unchanged",
    ]
    assert len(files_in(tmp_path, "tool_activations")) == 1


async def test_a_second_import_changes_nothing_and_no_revision(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    before = await stored(store, agent.id)
    for embeddings in (False, True):
        await export_agent(store, TENANT, agent.id, tmp_path, embeddings=embeddings)
        assert await done(store, tmp_path) == {"unchanged": 11}
        assert await stored(store, agent.id) == before


@pytest.mark.parametrize("embeddings", [False, True])
async def test_another_tenant_gets_the_same(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path, embeddings: bool
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path, embeddings=embeddings)
    other = uuid4()
    assert await done(store, tmp_path, other) == {"added": 11}
    assert await done(store, tmp_path, other) == {"unchanged": 11}
    original, copy = await stored(store, agent.id), await stored(store, agent.id, other)
    ours = {"tenant_id", "created_at", "updated_at", "revision"}
    for key, item in original.items():
        own = {*ours, "id"} if key[0] == "tool_activation" else ours
        without = set() if embeddings else {"embedding", "embedding_model", "entry_condition_embedding", "steps"}
        assert item.model_dump(exclude=own | without) == copy[key].model_dump(exclude=own | without)


async def test_only_what_differs_is_saved_and_keeps_the_embedding_of_the_same_text(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path)
    before = await stored(store, agent.id)
    first, second = files_in(tmp_path, "rules")
    edit(first, action_text="Say hello.")
    edit(second, condition_text="Another condition.")
    (scenario, _) = files_in(tmp_path, "scenarios")
    edit(scenario, entry_condition_text="coffee")
    assert await done(store, tmp_path, dry_run=True) == {"changed": 3, "unchanged": 8}
    assert await stored(store, agent.id) == before
    assert await done(store, tmp_path) == {"changed": 3, "unchanged": 8}
    assert await done(store, tmp_path) == {"unchanged": 11}
    after = await stored(store, agent.id)
    raised = [key for key in after if after[key].revision != before[key].revision]
    assert len(raised) == 3
    kept, lost = await store.get_rule(TENANT, id_of(first)), await store.get_rule(TENANT, id_of(second))
    assert kept is not None
    assert lost is not None
    assert (kept.embedding, kept.action_text, lost.embedding) == ([1.0, 0.5], "Say hello.", None)
    changed = await store.get_scenario(TENANT, id_of(scenario))
    assert changed is not None
    assert changed.entry_condition_embedding is None
    assert changed.steps[0].transitions[0].condition_embedding is not None


async def test_what_no_file_holds_is_deleted_only_when_asked_for_and_comes_back_with_its_file(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path)
    before = await stored(store, agent.id)
    files = [files_in(tmp_path, folder)[0] for folder in ("rules", "tool_activations")]
    texts = [file.read_text("utf-8") for file in files]
    for file in files:
        file.unlink()
    assert await done(store, tmp_path) == {"left": 2, "unchanged": 9}
    assert await stored(store, agent.id) == before
    assert await done(store, tmp_path, delete=True) == {"deleted": 2, "unchanged": 9}
    assert len(await stored(store, agent.id)) == 9
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, "utf-8")
    assert await done(store, tmp_path, dry_run=True) == {"added": 2, "unchanged": 9}
    assert await done(store, tmp_path) == {"unchanged": 11}
    assert (await stored(store, agent.id)).keys() == before.keys()
    await store.delete_agent(TENANT, agent.id)
    edit(tmp_path / "agent.json", description="back")
    assert await done(store, tmp_path) == {"changed": 1, "unchanged": 10}


async def test_a_name_that_a_deleted_part_had_can_be_taken(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path)
    (file, _) = files_in(tmp_path, "variables")
    edit(file, id=str(uuid4()))
    with pytest.raises(ConflictError):
        await done(store, tmp_path)
    assert await done(store, tmp_path, delete=True) == {"added": 1, "deleted": 1, "unchanged": 10}


async def test_a_diff_shows_what_a_reviewer_has_to_see(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path)
    edit(tmp_path / "agent.json", description="Knows books.")
    change, *_ = await import_agent(store, TENANT, tmp_path, dry_run=True)
    lines = change.diff.splitlines()
    assert lines[:2] == ["--- agent/desk\tstored", "+++ agent/desk\tin files"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        '-  "description": null,',
        '+  "description": "Knows books.",',
    ]


def files_in(directory: Path, folder: str) -> list[Path]:
    return sorted(directory.glob(f"{folder}/*.json"))


def edit(path: Path, **values: object) -> None:
    """Change what a file holds."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


def id_of(path: Path) -> UUID:
    return UUID(json.loads(path.read_text("utf-8"))["id"])


WRONG = {
    "{": "is not JSON in UTF-8",
    "[]": "is not a JSON object",
    "{}": "id: Field required",
    '{"id": 7}': "id: must be a UUID",
    '{"id": "0197a3c2-5f7e-7c3a-9d5e-2f1b8c4d6e7f", "nmae": "x"}': "name: Field required",
    '{"id": "0197a3c2-5f7e-7c3a-9d5e-2f1b8c4d6e7f", "name": "x", "revision": 7}': "revision: is not given in a file",
    '{"id": "0197a3c2-5f7e-7c3a-9d5e-2f1b8c4d6e7f", "name": "x", "text": "t", "colour": 1}': "colour: Extra inputs",
}


@pytest.mark.parametrize("text", WRONG)
async def test_a_file_that_holds_something_else_is_named_before_anything_is_changed(
    store: InMemoryConfigStore, agent: Agent, tmp_path: Path, text: str
) -> None:
    await export_agent(store, TENANT, agent.id, tmp_path)
    edit(tmp_path / "agent.json", description="changed")
    (tmp_path / "templates" / "wrong.json").write_text(text)
    before = await stored(store, agent.id)
    with pytest.raises(ValidationError) as refused:
        await done(store, tmp_path)
    assert str(refused.value).startswith(f"templates/wrong.json: {WRONG[text]}")
    assert await stored(store, agent.id) == before


async def test_one_directory_is_of_one_agent(store: InMemoryConfigStore, agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"has no agent\.json"):
        await done(store, tmp_path)
    with pytest.raises(NotFoundError):
        await export_agent(store, TENANT, uuid4(), tmp_path)
    await export_agent(store, TENANT, agent.id, tmp_path)
    other = make_agent(TENANT)
    await store.save_agent(other)
    with pytest.raises(ValidationError, match="another agent"):
        await export_agent(store, TENANT, other.id, tmp_path)
    (rule, _) = files_in(tmp_path, "rules")
    (tmp_path / "rules" / "again.json").write_text(rule.read_text("utf-8"))
    with pytest.raises(ValidationError, match="is the same rule as"):
        await done(store, tmp_path)
