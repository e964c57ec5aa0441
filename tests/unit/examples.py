"""One example of every model, with every field filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from convostore import models
from convostore.models.base import Model
from convostore.testing import factories
from convostore.testing.config.rows import CONFIG_ROWS, OWNED_ROWS


def _inside(value: Any) -> Iterator[Model]:
    """Yield the models in a value, itself first."""
    if isinstance(value, Model):
        yield value
        yield from _inside(list(value.__dict__.values()))
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _inside(item)


def _recorded(tenant: UUID) -> list[Model]:
    session, moment, digest = uuid4(), factories.at(1), "0f" * 32
    record = models.AuditRecord(
        version=1,
        tenant_id=tenant,
        kind="turn",
        record_id=uuid4(),
        session_id=session,
        turn_number=5,
        sequence=6,
        recorded_at=moment,
        previous_hash=digest,
        digest=digest,
        hash=digest,
        body="{}",
        body_dropped=False,
        misfiled=True,
    )
    return [
        record,
        models.AuditHead(tenant_id=tenant, session_id=session, sequence=6, recorded=6),
        models.AuditBody(
            tenant_id=tenant,
            kind="turn",
            record_id=record.record_id,
            recorded_at=moment,
            session_id=session,
            recorded=True,
        ),
        models.AuditVerification(
            problem=models.AuditProblem(
                reason="misfiled", session_id=session, sequence=6, kind="turn", record_id=record.record_id
            ),
            chains=1,
            records=5,
            bodies=4,
            months_dropped=[moment.date().replace(day=1)],
            head=record.anchor,
        ),
    ]


def _full() -> list[Model]:
    tenant, agent = uuid4(), uuid4()
    ann, bob = factories.full_entity(tenant, agent), factories.make_entity(tenant, agent)
    edge = factories.full_relationship(ann, bob)
    return [
        models.AgentConfig(
            agent=factories.full_agent(tenant),
            **{rows.declaration.plural: [rows.full(tenant, agent)] for rows in OWNED_ROWS},
        ),
        models.Turn(
            session=factories.full_session(tenant),
            created=True,
            profile=factories.full_profile(tenant),
            config=models.AgentConfig(
                agent=factories.full_agent(tenant), **{rows.declaration.plural: [] for rows in OWNED_ROWS}
            ),
            rules=[(factories.full_rule(tenant, agent), 0.5)],
            episodes=[(factories.full_episode(tenant, agent), 0.25)],
        ),
        *(rows.full(tenant, agent) for rows in CONFIG_ROWS),
        factories.full_session(tenant),
        factories.full_episode(tenant, agent),
        ann,
        edge,
        models.SearchHit(episode=factories.full_episode(tenant, agent), rank=1, score=0.5),
        models.Neighbourhood(entities=[ann, bob], relationships=[edge]),
        factories.full_turn(tenant),
        factories.full_event(tenant),
        *_recorded(tenant),
        factories.full_profile(tenant),
        models.ItemTrace(
            item=factories.full_field(), sources=[factories.full_asset()], derived=[factories.make_field()]
        ),
    ]


MODELS: tuple[type[Model], ...] = tuple(
    value for value in vars(models).values() if isinstance(value, type) and issubclass(value, Model)
)
"""Every public model."""

EXAMPLES: dict[type[Model], Model] = {type(item): item for item in reversed(list(_inside(_full())))}
"""The first instance of each."""


def with_field(model: type[Model], name: str, value: Any) -> Model:
    """Return the example of a model with one field changed."""
    return model(**{**EXAMPLES[model].__dict__, name: value})
