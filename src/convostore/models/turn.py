"""What a turn of a conversation needs, loaded together."""

from __future__ import annotations

from pydantic import FiniteFloat

from convostore.models.base import FrozenModel
from convostore.models.config import AgentConfig, Rule
from convostore.models.memory import Episode
from convostore.models.profile import CustomerProfile
from convostore.models.session import Session


class Turn(FrozenModel):
    """All that a turn of a conversation begins with: a consistent snapshot."""

    session: Session
    """Session in which the turn takes place."""
    created: bool
    """Whether it was created when the turn was loaded."""
    profile: CustomerProfile | None
    """Profile of the session's customer, or of its channel identity if it names none; None if there is none."""
    config: AgentConfig
    """Configuration of the session's agent."""
    rules: list[tuple[Rule, FiniteFloat]]
    """Enabled rules of the agent that match best, with their scores, best first; empty if they were not searched."""
    episodes: list[tuple[Episode, FiniteFloat]]
    """Episodes of the customer that match best, with their scores, best first; empty if they were not searched."""
