"""Configures the agent of a tenant; doing it again changes nothing."""

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
    """Save the agent and its rules, unless they are there."""
    agent_id = agent_of(tenant_id)
    if await stores.config.get_agent(tenant_id, agent_id):
        return
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
    ]
    for rule in rules:
        await stores.config.save_rule(rule, overwrite=True)
    await stores.config.save_agent(Agent(id=agent_id, tenant_id=tenant_id, name="Support"), overwrite=True)
