"""Configures the agent of a tenant; doing it again saves what differs."""

from __future__ import annotations

from uuid import UUID, uuid5

from convostore import Stores
from convostore.models import Agent, Rule
from examples.support.turns import EMBEDDER

RULES = {
    "refunds": ("the customer wants a refund or the money back", "I have started your refund; it takes three days."),
    "parcels": ("the customer asks where the parcel or order is", "your parcel left us this morning."),
    "opening": ("the customer asks when the shop is open", "we are open from nine to five, every day but Sunday."),
    "greeting": ("the customer says hello, and what the name is", "it is good to hear from you. How can I help?"),
}


def agent_of(tenant_id: UUID) -> UUID:
    """Return the id of a tenant's agent."""
    return uuid5(tenant_id, "support")


async def seed(stores: Stores, tenant_id: UUID) -> None:
    """Save the agent if it is missing, and its rules that differ; one that `RULES` no longer has stays."""
    agent_id = agent_of(tenant_id)
    if not await stores.config.get_agent(tenant_id, agent_id):
        await stores.config.save_agent(Agent(id=agent_id, tenant_id=tenant_id, name="Support"), overwrite=True)
    stored = await stores.config.get_rules(tenant_id, agent_id, enabled_only=False)
    same = {rule.name for rule in stored if (rule.condition_text, rule.action_text) == RULES.get(rule.name)}
    rules = [
        Rule(
            id=uuid5(agent_id, name),
            tenant_id=tenant_id,
            agent_id=agent_id,
            name=name,
            condition_text=condition,
            action_text=action,
            embedding=EMBEDDER.embed(condition),
            embedding_model=EMBEDDER.model,
        )
        for name, (condition, action) in RULES.items()
        if name not in same
    ]
    await stores.config.save_rules(rules, overwrite=True)
