"""What an agent needs for a turn."""

from __future__ import annotations

from convostore.models import AgentConfig


def without_embeddings(config: AgentConfig) -> AgentConfig:
    """Take the embeddings out of a configuration, and return it. Nothing is validated again."""
    for rule in config.rules:
        rule.__dict__["embedding"] = None
    for scenario in config.scenarios:
        scenario.__dict__["entry_condition_embedding"] = None
        for step in scenario.steps:
            for transition in step.transitions:
                transition.__dict__["condition_embedding"] = None
    return config
