"""`convostore demo`: replays the sample on real engines, and shows tenant isolation and revision checks."""

from __future__ import annotations

import os
from uuid import UUID, uuid4

from convostore.cli.measure import Measure
from convostore.cli.output import report, terminal
from convostore.cli.replay import opened, play
from convostore.cli.tables import facts, show
from convostore.errors import ConflictError
from convostore.replay import Report, sample
from convostore.stores import Stores

_OTHER_SERVERS = {f"CONVOSTORE_{name}" for name in ("POSTGRES_URL", "REDIS_URL", "POOLER", "EMBEDDED")}
"""The variables that would lead the demonstration to other servers than its own."""


async def run(*, as_json: bool) -> bool:
    """Run the demonstration, print its report, and return whether every check passed."""
    console = terminal(quiet=as_json)
    for variable in [name for name in os.environ if name.upper() in _OTHER_SERVERS]:
        del os.environ[variable]
    console.print("[bold]convostore[/]: conversations with a bookshop's support, replayed through five stores.")
    records, tenant_id = sample(), uuid4()
    measure = Measure()
    async with opened(console, {"backend": "engines", "ephemeral": True}, measure) as stores:
        outcome = await play(stores, tenant_id, lambda: records, total=len(records))
        await _try_promises(stores, tenant_id, outcome)
        passed = show(console, outcome, measure)
    if as_json:
        report("", as_json=True, **facts(outcome, measure))
    if passed:
        console.print("[bold green]Everything that was read back equals what was written.[/]")
    return passed


async def _try_promises(stores: Stores, tenant_id: UUID, outcome: Report) -> None:
    """Check what reading back does not: isolation from another tenant, and the refusal of a stale copy."""
    where = "the demonstration"
    turns = await stores.audit.list_turns_by_tenant(tenant_id)
    session_id = turns[0].session_id
    stranger = uuid4()
    seen = [
        await stores.for_tenant(stranger).sessions.get(session_id),
        *await stores.audit.list_turns_by_session(stranger, session_id),
        *await stores.profiles.list_profiles(stranger),
        *await stores.memory.get_episodes(stranger, turns[0].agent_id),
        *(await stores.config.get_agents(stranger))[0],
    ]
    outcome.check("all: another tenant sees none of it", seen == [None], where)
    own = stores.for_tenant(tenant_id).sessions
    one, other = await own.get(session_id), await own.get(session_id)
    refused = False
    if one is not None and other is not None:
        await stores.sessions.save(one)
        try:
            await stores.sessions.save(other)
        except ConflictError as error:
            refused = error.current_revision == one.revision
    outcome.check("sessions: a stale copy is refused with the current revision", refused, where)
