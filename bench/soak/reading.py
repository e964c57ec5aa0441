"""`python -m bench.soak.reading`: what a soak has written, read by a fresh process and compared with its journals."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.soak.journal import Attempt, Conversation, Journals, Plan, writes_of
from bench.soak.leading import FIELD
from convostore import Stores, open_stores

Found = dict[str, dict[str, str]]
"""The tokens of what was found, by kind and id."""

_PAGE = 1_000


@dataclass
class Verdict:
    """What a soak has shown.

    Attributes:
        attempts: how many writes had each outcome; those that were killed are `"unfinished"`.
        applied: of those whose outcome was unknown or unfinished, how many were applied; the others left nothing.
        codes: why writes were refused or unknown.
        found: how many items of each kind were read back.
        records: how many audit records were verified, in how many chains.
        figures: what the processes counted.
        violations: promises that were not kept.
    """

    attempts: Counter[str] = field(default_factory=Counter)
    applied: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    figures: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def judge(self, attempt: Attempt, found: Found) -> None:
        """Compare a write with what was found of its conversation."""
        outcome = attempt.outcome or "unfinished"
        self.attempts[outcome] += 1
        if attempt.code:
            self.codes[f"{outcome}: {attempt.code}"] += 1
        there = [found[kind].get(key) == attempt.token for kind, keys in attempt.items.items() for key in keys]
        if len({*there}) > 1:
            self.violations.append(f"{attempt.token}: {attempt.way}, {outcome}, was applied in part")
        elif outcome == "acknowledged" and not all(there):
            self.violations.append(f"{attempt.token}: {attempt.way} was acknowledged and is lost")
        elif outcome == "not_applied" and any(there):
            self.violations.append(f"{attempt.token}: {attempt.way} was not applied and is there")
        elif outcome in ("unknown", "unfinished"):
            self.applied[outcome] += all(there)


async def read_back(stores: Stores, conversation: Conversation, verdict: Verdict) -> Found:
    """Read what there is of a conversation; check what needs no journal."""
    c = conversation
    session = await stores.sessions.get(c.session_id, tenant_id=c.tenant_id)
    assert session is not None
    writes = writes_of(session)
    if len({*writes}) != len(writes) or session.revision != 1 + len(writes):
        verdict.violations.append(f"conversation {c.number}: revision {session.revision} after {len(writes)} writes")
    fields, offset = dict[str, str](), 0
    while page := await stores.profiles.get_field_history(c.tenant_id, c.profile_id, FIELD, limit=_PAGE, offset=offset):
        fields |= {str(each.id): str(each.value) for each in page}
        offset += _PAGE
    return {
        "session": {token: token for token in writes},
        "turn": {
            str(turn.turn_id): turn.user_message
            async for turn in stores.audit.iter_turns_by_session(c.tenant_id, c.session_id)
        },
        "event": {
            str(event.id): str(event.event_data["token"])
            async for event in stores.audit.iter_events(c.tenant_id, session_id=c.session_id)
        },
        "episode": {
            str(episode.id): episode.content
            async for episode in stores.memory.iter_episodes(c.tenant_id, c.agent_id, session_id=c.session_id)
        },
        "field": fields,
    }


async def judged(stores: Stores, plan: Plan, journals: Journals) -> Verdict:
    """Read everything back."""
    verdict = Verdict(figures=journals.figures, violations=journals.violations)
    attempts: dict[int, list[Attempt]] = {each.number: [] for each in plan.conversations}
    for attempt in journals.attempts:
        attempts[attempt.conversation].append(attempt)
    for conversation in plan.conversations:
        found = await read_back(stores, conversation, verdict)
        known = {attempt.token for attempt in attempts[conversation.number]}
        for kind, items in found.items():
            verdict.found[kind] += len(items)
            verdict.violations += [f"{kind} of {token}: nobody wrote it" for token in {*items.values()} - known]
        for attempt in attempts[conversation.number]:
            verdict.judge(attempt, found)
    for tenant in {each.tenant_id for each in plan.conversations}:
        verified = await stores.audit.verify(tenant)
        verdict.records += Counter(records=verified.records, chains=verified.chains)
        # Unknown is a tenant of which nothing was recorded; if something was, the sum below tells.
        if verified.problem is not None and verified.problem.reason != "unknown":
            verdict.violations.append(f"a chain is broken: {verified.problem}")
    if verdict.records["records"] != verdict.found["turn"] + verdict.found["event"]:
        verdict.violations.append("turns and events are not what the chains have")
    return verdict


async def read(plan: Plan, journals: Iterable[Path]) -> dict[str, Any]:
    """Return the verdict as JSON has it."""
    async with open_stores(postgres_url=plan.postgres_url, redis_url=plan.redis_url, sweep_every=0) as stores:
        return vars(await judged(stores, plan, Journals.read(journals)))


def main() -> None:
    plan, *journals = map(Path, sys.argv[1:])
    print(json.dumps(asyncio.run(read(Plan.read(plan), journals))))


if __name__ == "__main__":
    main()
