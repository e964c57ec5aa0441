"""An agent's configuration as files, to be reviewed and kept in version control.

    agent.json                the agent
    rules/<name>.<id>.json    a file for each rule; likewise scenarios, templates, variables and tool_activations

A file holds what its author decides: neither tenant and agent, which an import gives, nor what a store manages. It
keeps its name when what it holds is renamed; names mean nothing to an import.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from struct import error as struct_error
from struct import pack, unpack
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import pydantic

from convostore.contracts import ConfigStore
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import AGENT, AGENT_OWNED
from convostore.errors import NotFoundError, ValidationError
from convostore.models.config import ConfigEntity

__all__ = ["Document", "Entry", "Key", "export_agent", "keep_embeddings", "load_agent", "read_files", "written"]

Document: TypeAlias = dict[str, Any]
"""What a file holds."""

Key: TypeAlias = tuple[str, str]
"""What a part of a configuration is, and the id that it keeps: of a tool activation the tool's."""

_TEXTS = {
    "embedding": "condition_text",
    "entry_condition_embedding": "entry_condition_text",
    "condition_embedding": "condition_text",
}
"""The fields that hold embeddings, and what is embedded in them."""

_NESTED = frozenset({"steps", "transitions"})
"""The fields with parts that hold embeddings, too."""

_AGENT_FILE = "agent.json"
_NAMED_BY_ID = ("id",)


class Entry(NamedTuple):
    """One part of an agent's configuration.

    Attributes:
        declaration: what it is.
        item: the model.
    """

    declaration: Declaration[Any]
    item: ConfigEntity

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.declaration.name, str(getattr(self.item, self.declaration.lookup[-1]))

    @property
    def label(self) -> str:
        """What people call it."""
        label: str = getattr(self.item, self.declaration.order[-1])
        return label

    def document(self, *, embeddings: bool = False) -> Document:
        """Return what its file holds.

        Args:
            embeddings: whether embeddings are in it, float32 numbers in little-endian order as base64.
        """
        left_out = {"tenant_id", "agent_id", *self.item.store_managed}
        if self.declaration.lookup != _NAMED_BY_ID:
            left_out.add("id")
        if not embeddings:
            left_out |= {"embedding_model"}
        values = self.item.model_dump(mode="json", exclude=left_out)
        named = {name: values[name] for name in ("id", *self.declaration.order, "name") if name in values}
        return dict(_changed(named | values, _packed if embeddings else None))


def written(document: Document) -> str:
    """Return the text of a document."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


async def load_agent(config: ConfigStore, tenant_id: UUID, agent_id: UUID) -> dict[Key, Entry]:
    """Return an agent and what belongs to it, disabled parts included, by key; without the agent if it is not there.

    Raises:
        StoreError: the store fails.
    """
    agent = await config.get_agent(tenant_id, agent_id)
    entries = [Entry(AGENT, agent)] if agent else []
    for declaration in AGENT_OWNED:
        everything = {"enabled_only": False} if declaration.only else {}
        parts: AsyncIterator[ConfigEntity] = getattr(config, f"iter_{declaration.plural}")(
            tenant_id, agent_id, **everything
        )
        entries += [Entry(declaration, part) async for part in parts]
    return {entry.key: entry for entry in entries}


async def export_agent(
    config: ConfigStore,
    tenant_id: UUID,
    agent_id: UUID,
    directory: Path,
    *,
    embeddings: bool = False,
    delete: bool = False,
) -> dict[Path, str]:
    """Write an agent's configuration to a directory; return what became of each file, by its relative path.

    A file that holds the same already is left alone. Files of what is no longer there are left, too, unless they are
    to be deleted.

    Args:
        config: the store.
        tenant_id: the tenant.
        agent_id: the agent.
        directory: where to write; made if it is missing.
        embeddings: whether to write embeddings.
        delete: whether to delete files of what is not there.

    Returns:
        `"written"`, `"unchanged"`, `"left"` or `"deleted"`, by path.

    Raises:
        NotFoundError: the tenant has no such agent.
        ValidationError: a file in the directory is none of these, or holds the configuration of another agent.
        OSError: the directory cannot be written.
    """
    entries = await load_agent(config, tenant_id, agent_id)
    if (AGENT.name, str(agent_id)) not in entries:
        raise NotFoundError("The tenant has no such agent.")
    paths = {key: path for key, (path, _) in _found(directory).items()}
    if any(kind == AGENT.name and key != str(agent_id) for kind, key in paths):
        raise ValidationError(f"{directory}: holds the configuration of another agent")
    done = {}
    for key, entry in entries.items():
        relative = paths.pop(key, None) or _new_path(entry)
        path, text = directory / relative, written(entry.document(embeddings=embeddings))
        same = path.exists() and path.read_text("utf-8") == text
        if not same:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        done[relative] = "unchanged" if same else "written"
    for relative in paths.values():
        if delete:
            (directory / relative).unlink()
        done[relative] = "deleted" if delete else "left"
    return dict(sorted(done.items()))


def read_files(directory: Path, tenant_id: UUID) -> dict[Key, Entry]:
    """Return what the files of a directory hold, as new items of a tenant, by key.

    Raises:
        ValidationError: a file is missing, or does not hold what it should; the message names it.
        OSError: the directory cannot be read.
    """
    found = _found(directory)
    agents = [key for kind, key in found if kind == AGENT.name]
    if not agents:
        raise ValidationError(f"{directory}: has no {_AGENT_FILE}")
    (agent_id,) = agents
    entries = {}
    for key, (path, document) in found.items():
        declaration = next(each for each in (AGENT, *AGENT_OWNED) if each.name == key[0])
        given = {"tenant_id": tenant_id} if declaration is AGENT else {"tenant_id": tenant_id, "agent_id": agent_id}
        forbidden = document.keys() & {"tenant_id", "agent_id", *declaration.model.store_managed}
        if forbidden:
            raise ValidationError(f"{path}: {min(forbidden)}: is not given in a file")
        try:
            values = dict(_changed(document, _unpacked))
            entries[key] = Entry(declaration, declaration.model.model_validate({**values, **given}))
        except pydantic.ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(map(str, problem["loc"]))
            raise ValidationError(f"{path}: {place}: {problem['msg']}".replace(": : ", ": ")) from error
    return entries


def keep_embeddings(document: Document, stored: Document) -> Document:
    """Return a model as plain data, with stored embeddings where it has none and the embedded text is the same.

    Args:
        document: the model.
        stored: the same as it is stored.
    """
    kept = dict(document)
    for name, text in _TEXTS.items():
        if name in kept and kept[name] is None and kept.get(text) == stored.get(text):
            kept[name] = stored.get(name)
    if "embedding_model" in kept and kept["embedding_model"] is None:
        kept["embedding_model"] = stored.get("embedding_model")
    for name in _NESTED & kept.keys():
        before = {_place(each): each for each in stored.get(name, ())}
        kept[name] = [keep_embeddings(each, before.get(_place(each), {})) for each in kept[name]]
    return kept


def _place(part: Document) -> Any:
    """Return what a step or a transition is found by."""
    return part.get("id") or (part["to_step_id"], part["condition_text"])


def _changed(values: Mapping[str, Any], change: Callable[[Any], Any] | None) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a document with its embeddings changed, or without them."""
    for name, value in values.items():
        if name in _TEXTS:
            if change is not None:
                yield name, None if value is None else change(value)
        elif name in _NESTED and isinstance(value, list):
            yield name, [dict(_changed(each, change)) if isinstance(each, dict) else each for each in value]
        else:
            yield name, value


def _packed(vector: list[float]) -> str:
    return b64encode(pack(f"<{len(vector)}f", *vector)).decode()


def _unpacked(text: Any) -> Any:
    """Return a packed vector; what is none is left for the model to refuse."""
    try:
        data = b64decode(text, validate=True)
        return list(unpack(f"<{len(data) // 4}f", data))
    except (TypeError, ValueError, struct_error):
        return text


def _found(directory: Path) -> dict[Key, tuple[Path, Document]]:
    """Return the files of a directory with what they hold, by key."""
    found: dict[Key, tuple[Path, Document]] = {}
    for declaration in (AGENT, *AGENT_OWNED):
        pattern = _AGENT_FILE if declaration is AGENT else f"{declaration.plural}/*.json"
        for file in sorted(directory.glob(pattern)):
            path, document = file.relative_to(directory), _read(file, directory)
            key = (declaration.name, _key(declaration, document, path))
            if key in found:
                raise ValidationError(f"{path}: is the same {declaration.name} as {found[key][0]}")
            found[key] = path, document
    return found


def _key(declaration: Declaration[Any], document: Document, path: Path) -> str:
    name = declaration.lookup[-1]
    try:
        return str(UUID(document[name])) if declaration.lookup == _NAMED_BY_ID else str(document[name])
    except KeyError:
        raise ValidationError(f"{path}: {name}: Field required") from None
    except (TypeError, ValueError, AttributeError):
        raise ValidationError(f"{path}: {name}: must be a UUID") from None


def _read(file: Path, directory: Path) -> Document:
    try:
        document = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"{file.relative_to(directory)}: is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise ValidationError(f"{file.relative_to(directory)}: is not a JSON object")
    return document


def _new_path(entry: Entry) -> Path:
    if entry.declaration is AGENT:
        return Path(_AGENT_FILE)
    name, (_, key) = re.sub(r"[^\w]+", "-", entry.label.lower()).strip("-")[:60], entry.key
    if entry.declaration.lookup != _NAMED_BY_ID:
        key = sha256(key.encode()).hexdigest()[:12]
    return Path(entry.declaration.plural, f"{name}.{key}.json".lstrip("."))
