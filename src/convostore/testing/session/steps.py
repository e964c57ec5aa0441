"""The contract of session stores: which sessions stand at a step."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.contracts import SessionStore
from convostore.errors import ValidationError
from convostore.models import Channel, ScopeFilter, Session, SessionStatus
from convostore.testing.base import StoreContract
from convostore.testing.factories import make_session, make_visit


def at_step(tenant: UUID, scenario: UUID, **changes: Any) -> Session:
    """Return an active session that stands at the step `here`, after one visit elsewhere."""
    node = changes.pop("node", "payment")
    hash_ = changes.pop("hash", "here")
    visits = [make_visit(step_content_hash="before"), make_visit(step_content_hash=hash_, step_name=node)]
    values = {"active_scenario_id": scenario, "active_scenario_version": 2, "step_history": visits}
    return make_session(tenant, **{**values, **changes})


class SessionStepContract(StoreContract):
    """Sessions by the content hash of the step they stand at."""

    async def test_active_sessions_whose_last_visit_matches_are_found(self, store: SessionStore) -> None:
        tenant, scenario = uuid4(), uuid4()
        first, second = at_step(tenant, scenario), at_step(tenant, scenario)
        others = [
            at_step(tenant, scenario, hash="elsewhere"),
            at_step(tenant, scenario, active_scenario_version=3),
            at_step(tenant, uuid4()),
            at_step(tenant, scenario, step_history=[]),
            at_step(tenant, scenario, active_scenario_version=None),
            *(at_step(tenant, scenario, status=status) for status in SessionStatus if status != "active"),
            at_step(uuid4(), scenario),
        ]
        for session in (first, second, *others):
            await store.save(session)
        find = store.find_sessions_by_step_hash
        assert await find(tenant, scenario, 2, "here") == [second, first]
        assert await find(tenant, scenario, 2, "before") == []
        assert await find(tenant, scenario, 2, "here", limit=1) == [second]
        assert await find(tenant, scenario, 2, "here", limit=1, offset=1) == [first]
        assert await find(tenant, scenario, 2, "here", offset=2) == []

    async def test_a_session_that_moves_on_is_no_longer_found(self, store: SessionStore) -> None:
        tenant, scenario = uuid4(), uuid4()
        moved, closed, deleted = (at_step(tenant, scenario) for _ in range(3))
        for session in (moved, closed, deleted):
            await store.save(session)
        moved.step_history.append(make_visit(step_content_hash="next"))
        closed.status = SessionStatus.CLOSED
        await store.save(moved)
        await store.save(closed)
        await store.delete(deleted.session_id)
        assert await store.find_sessions_by_step_hash(tenant, scenario, 2, "here") == []
        assert await store.find_sessions_by_step_hash(tenant, scenario, 2, "next") == [moved]

    @pytest.mark.parametrize(
        ("scope", "found"),
        [
            ({}, "mail chat unnamed"),
            ({"include_channels": [Channel.EMAIL]}, "mail"),
            ({"include_channels": [Channel.EMAIL, Channel.WEBCHAT]}, "mail chat unnamed"),
            ({"exclude_channels": [Channel.EMAIL]}, "chat unnamed"),
            ({"include_channels": [Channel.EMAIL], "exclude_channels": [Channel.EMAIL]}, ""),
            ({"include_current_nodes": ["payment"]}, "mail"),
            ({"include_current_nodes": ["payment", "address"]}, "mail chat"),
            ({"exclude_current_nodes": ["payment"]}, "chat unnamed"),
            ({"min_session_age_days": 0}, "mail chat unnamed"),
            ({"min_session_age_days": 1}, ""),
            ({"max_session_age_days": 1}, "mail chat unnamed"),
            ({"max_session_age_days": 3_650_000}, "mail chat unnamed"),
            ({"include_channels": [Channel.WEBCHAT], "exclude_current_nodes": ["address"]}, "unnamed"),
        ],
    )
    async def test_a_scope_filter_narrows_what_is_found(
        self, store: SessionStore, scope: dict[str, Any], found: str
    ) -> None:
        tenant, scenario = uuid4(), uuid4()
        sessions = {
            "mail": at_step(tenant, scenario, channel=Channel.EMAIL, node="payment"),
            "chat": at_step(tenant, scenario, channel=Channel.WEBCHAT, node="address"),
            "unnamed": at_step(tenant, scenario, channel=Channel.WEBCHAT, node=None),
        }
        for session in sessions.values():
            await store.save(session)
        matches = await store.find_sessions_by_step_hash(tenant, scenario, 2, "here", ScopeFilter(**scope))
        assert matches == [sessions[name] for name in reversed(found.split())]

    async def test_custom_conditions_are_refused(self, store: SessionStore) -> None:
        scope = ScopeFilter(custom_conditions=["customer is vip"])
        with pytest.raises(ValidationError, match="custom_conditions"):
            await store.find_sessions_by_step_hash(uuid4(), uuid4(), 1, "here", scope)
