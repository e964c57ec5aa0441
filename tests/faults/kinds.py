"""All faults of servers that tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.expected import Kind
from tests.faults.fault import Fault
from tests.faults.network import network
from tests.faults.servers import POSTGRES, VALKEY
from tests.faults.world import World

FAULTS = [*network("postgres"), *POSTGRES, *network("redis"), *VALKEY]


@asynccontextmanager
async def nothing(_: World) -> AsyncIterator[None]:
    yield


NO_FAULT = Fault("none", "postgres", nothing, Kind.SLOW)
