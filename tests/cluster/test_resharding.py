"""Slots that move to another primary while sessions are saved: at once, as Valkey 9 can, and key by key, as all can."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from convostore.embedded import Embedded
from convostore.redis import keys
from tests.cluster.nodes import Cluster, Node, eventually
from tests.cluster.test_failover import check_consistency, opened
from tests.cluster.working import Work, working

SLOTS_THAT_MOVE = 3


async def slots_of(node: Node, work: Work) -> list[int]:
    """Return some slots of a primary that hold what is worked on."""
    worked_on = {key_slot(keys.bucket(session_id).encode()) for session_id in work.acknowledged}
    held = [slot for slot in sorted(worked_on) if await node.ask("CLUSTER", "COUNTKEYSINSLOT", slot)]
    return held[:SLOTS_THAT_MOVE]


async def move_at_once(source: Node, target: Node, slots: list[int], work: Work) -> None:
    """Move slots in one piece each."""
    target_id = await target.ask("CLUSTER", "MYID")
    for slot in slots:
        await source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target_id)

        async def arrived(slot: int = slot) -> bool:
            return bool(await target.ask("CLUSTER", "COUNTKEYSINSLOT", slot)) and not await source.ask(
                "CLUSTER", "COUNTKEYSINSLOT", slot
            )

        await eventually(arrived, "the slot has moved")
        await work.more(5)


async def move_key_by_key(cluster: Cluster, source: Node, target: Node, slots: list[int], work: Work) -> None:
    """Move slots as `redis-cli --cluster reshard` does, and let sessions be saved between two keys."""
    source_id, target_id = await source.ask("CLUSTER", "MYID"), await target.ask("CLUSTER", "MYID")
    for slot in slots:
        await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while names := await source.ask("CLUSTER", "GETKEYSINSLOT", slot, 4):
            await source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *names)
            await work.more(2)
        for node in (target, source, *await cluster.primaries()):
            await node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


@pytest.mark.parametrize("kind", ["redis", "tiered"])
@pytest.mark.parametrize("way", ["at once", "key by key"])
async def test_slots_move_under_load_and_nothing_is_lost(
    cluster: Cluster, engines: Embedded, kind: str, way: str
) -> None:
    async with opened(kind, cluster.url, engines) as store:
        async with working(store) as work:
            source, target, _ = await cluster.primaries()
            slots = await slots_of(source, work)
            assert slots
            if way == "at once":
                await move_at_once(source, target, slots, work)
            else:
                await move_key_by_key(cluster, source, target, slots, work)
            await work.more(30)
        assert await work.lost() == []
    await eventually(cluster.is_well, "the cluster is well")
    await check_consistency(await cluster.primaries())
