"""Deterministic ids, which make a replay idempotent."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID, uuid5

from convostore.models import ScenarioStep


class Ids:
    """Ids of one tenant: UUIDs of version 5 in the tenant's namespace (RFC 9562, section 5.5)."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id

    def __call__(self, kind: str, *names: object) -> UUID:
        """Return the id of a kind and a path of names."""
        return uuid5(self._tenant_id, "\0".join((kind, *map(str, names))))


def content_hash(step: ScenarioStep) -> str:
    """Return the hash of a step's content, by which sessions at the step are found."""
    return sha256(step.model_dump_json(include={"name", "description", "tool_ids"}).encode()).hexdigest()
