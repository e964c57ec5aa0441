"""The hot tier as tests see it: the values of copies and guards, and time that passes for a guard at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis

from convostore.call.call import Call, running
from convostore.call.effects import Effect
from convostore.redis import keys
from convostore.tiered.values import Guard
from tests.redis.administration import MARK


def copy_key(session_id: UUID) -> str:
    return f"{keys.bucket(session_id)}copy:{session_id}"


def guard_key(guard: Guard) -> str:
    return f"{keys.bucket(guard.session_id)}guard:{guard.tenant_id}:{guard.session_id}"


def another(guard: Guard, token: str) -> Guard:
    """Return another token in the same guard."""
    return guard._replace(token=token)


async def tokens(client: Redis, guard: Guard) -> list[str]:
    """Return the tokens in a guard, expired ones included."""
    value: Any = await client.get(guard_key(guard))
    return [] if value is None else re.findall(r"([^|,@]+)@\d+@\d+@", value.decode())


_PASS_TIME = f"""{MARK}
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
redis.call('SET', KEYS[1], (string.gsub(value, '([@|])(%d+)', function(before, number)
    if #number ~= 13 then return nil end
    return before .. string.format('%.0f', number - ARGV[1])
end)), 'KEEPTTL')
return 1
"""


async def pass_time(client: Redis, guard: Guard, seconds: float) -> bool:
    """Let a guard be as if so many seconds had passed, its times of 13 digits lie back; return whether it is there."""
    evaluating: Any = client
    return bool(await evaluating.eval(_PASS_TIME, 1, guard_key(guard), round(seconds * 1_000)))


@contextmanager
def running_call(seconds: float) -> Iterator[None]:
    """Run a block in a call that has so many seconds left."""
    deadline = asyncio.get_running_loop().time() + seconds
    token = running.set(Call("session", "save", None, {}, uuid4(), deadline, Effect.IDEMPOTENT))
    try:
        yield
    finally:
        running.reset(token)
