"""Imports an agent's configuration from files: what differs is saved, what is the same stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from convostore.contracts import ConfigStore
from convostore.domain.declarations import AGENT, AGENT_OWNED
from convostore.models.config import ConfigEntity
from convostore.operations.agent_files import Entry, Key, keep_embeddings, load_agent, read_files, written

__all__ = ["Change", "import_agent"]

What: TypeAlias = Literal["added", "changed", "unchanged", "deleted", "left"]

_BATCH = 1_000


class Change(NamedTuple):
    """What an import does to one part of a configuration.

    Attributes:
        what: `left` is what no file holds and was not to be deleted.
        entry: the part, as it becomes; as it was if it is deleted or left.
        diff: what differs, as a unified diff of the file; empty if only embeddings do.
    """

    what: What
    entry: Entry
    diff: str


async def import_agent(
    config: ConfigStore,
    tenant_id: UUID,
    directory: Path,
    *,
    delete: bool = False,
    dry_run: bool = False,
    watch: Callable[[int], None] | None = None,
) -> list[Change]:
    """Make an agent's configuration what the files of a directory hold; return the changes, the agent's first.

    What is the same keeps its revision, so a second import changes nothing. What is deleted softly and held by a file
    is restored. Embeddings that are not in a file stay where the embedded text did. Each kind is saved in one call, all
    or nothing, up to 1,000 at a time; an import that was interrupted is finished by the next.

    Args:
        config: the store.
        tenant_id: the tenant.
        directory: as `export_agent` wrote it.
        delete: delete what belongs to the agent and is in no file.
        dry_run: change nothing.
        watch: called with the number of parts that were dealt with.

    Raises:
        ValidationError: a file does not hold what it should.
        ConflictError: somebody else has changed a part meanwhile, or a name or id is taken.
    """
    given = read_files(directory, tenant_id)
    (agent,) = (entry for entry in given.values() if entry.declaration is AGENT)
    stored = await load_agent(config, tenant_id, agent.item.id)
    if not dry_run and await _restored(config, given, stored):
        stored = await load_agent(config, tenant_id, agent.item.id)
    changes = [_change(entry, stored.get(key)) for key, entry in given.items()]
    surplus: What = "deleted" if delete else "left"
    changes += [Change(surplus, entry, _diff(entry, None)) for key, entry in stored.items() if key not in given]
    if not dry_run:
        await _apply(config, changes, watch or (lambda _: None))
    return changes


async def _restored(config: ConfigStore, given: dict[Key, Entry], stored: dict[Key, Entry]) -> bool:
    """Restore what a file holds and the store has deleted; return whether anything was."""
    restored = False
    for key, entry in given.items():
        if key not in stored:
            declaration, item = entry
            lookup = [getattr(item, name) for name in declaration.lookup]
            done: bool = await getattr(config, f"restore_{declaration.name}")(item.tenant_id, *lookup)
            restored = restored or done
    return restored


def _change(entry: Entry, stored: Entry | None) -> Change:
    if stored is None:
        return Change("added", entry, _diff(None, entry))
    declaration, item = entry
    before, values = stored.item.model_dump(), keep_embeddings(item.model_dump(), stored.item.model_dump())
    values |= {name: before[name] for name in ("id", *item.store_managed)}
    becomes = Entry(declaration, declaration.model.model_validate(values))
    same = all(values[name] == before[name] for name in declaration.content)
    return Change("unchanged" if same else "changed", becomes, "" if same else _diff(stored, becomes))


def _diff(before: Entry | None, after: Entry | None) -> str:
    (old_name, old), (new_name, new) = _named(before), _named(after)
    return "".join(unified_diff(old, new, old_name, new_name, "stored", "in files"))


def _named(entry: Entry | None) -> tuple[str, list[str]]:
    if entry is None:
        return "/dev/null", []
    return f"{entry.declaration.name}/{entry.label}", written(entry.document()).splitlines(keepends=True)


async def _apply(config: ConfigStore, changes: list[Change], watch: Callable[[int], None]) -> None:
    for what, (declaration, item), _ in changes:
        if what == "deleted":  # first, because what is saved may take a name that it had
            lookup = [getattr(item, name) for name in declaration.lookup]
            await getattr(config, f"delete_{declaration.name}")(item.tenant_id, *lookup)
            watch(1)
    for declaration in (AGENT, *AGENT_OWNED):
        of_kind = [change for change in changes if change.entry.declaration is declaration]
        items: list[ConfigEntity] = [each.entry.item for each in of_kind if each.what in ("added", "changed")]
        save: Any = getattr(config, f"save_{declaration.plural}")
        for first in range(0, len(items), _BATCH):
            await save(items[first : first + _BATCH])
        watch(sum(each.what != "deleted" for each in of_kind))
