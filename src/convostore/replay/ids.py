"""Ids that follow from names, so that replaying the same records again finds what is there."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID, uuid5

from convostore.models import ScenarioStep


class Ids:
    """Ids of one tenant: UUIDs of version 5 in the tenant's namespace (RFC 9562, section 5.5)."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id

    def __call__(self, kind: str, *names: object) -> UUID:
        """Return the id of the thing of this kind with these names, from the outermost in."""
        return uuid5(self._tenant_id, "\0".join((kind, *map(str, names))))


def content_hash(step: ScenarioStep) -> str:
    """Return what tells a step's content: sessions that stand at equal content are found by it."""
    return sha256(step.model_dump_json(include={"name", "description", "tool_ids"}).encode()).hexdigest()
