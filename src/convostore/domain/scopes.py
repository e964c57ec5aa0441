"""Which sessions a scope filter lets through."""

from __future__ import annotations

from datetime import datetime, timedelta

from convostore.errors import ValidationError
from convostore.models.migration import ScopeFilter
from convostore.models.session import Session


def check_scope_filter(scope_filter: ScopeFilter | None) -> None:
    """Refuse what no store can evaluate.

    Raises:
        ValidationError: the filter has custom conditions.
    """
    if scope_filter is not None and scope_filter.custom_conditions:
        raise ValidationError("scope_filter.custom_conditions: are not supported")


def created_window(scope_filter: ScopeFilter, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the earliest and the latest `created_at`, both inclusive, that the age bounds allow; None is open."""
    oldest, youngest = scope_filter.max_session_age_days, scope_filter.min_session_age_days
    return _days_before(now, oldest), _days_before(now, youngest)


def in_scope(session: Session, scope_filter: ScopeFilter | None, now: datetime) -> bool:
    """Return whether a session lies in the scope: an empty include list includes all, exclusion wins."""
    if scope_filter is None:
        return True
    node = session.step_history[-1].step_name if session.step_history else None
    earliest, latest = created_window(scope_filter, now)
    return (
        (not scope_filter.include_channels or session.channel in scope_filter.include_channels)
        and session.channel not in scope_filter.exclude_channels
        and (not scope_filter.include_current_nodes or node in scope_filter.include_current_nodes)
        and node not in scope_filter.exclude_current_nodes
        and (earliest is None or session.created_at >= earliest)
        and (latest is None or session.created_at <= latest)
    )


def _days_before(now: datetime, days: int | None) -> datetime | None:
    if days is None:
        return None
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)
