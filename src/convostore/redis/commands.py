"""Pipelines and scripts on a client: what the parts of the session store share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID

import redis.asyncio as aio
from redis.exceptions import NoScriptError

from convostore.redis import keys
from convostore.redis.scripts import Script, script

Call = tuple[str, str, tuple[Any, ...]]
"""A script's name, its key and its arguments."""


class Commands:
    """Sends commands together and runs scripts, on a client that somebody else opens and closes."""

    def __init__(self, client: aio.Redis) -> None:
        self._client = client

    def pipeline(self) -> Any:
        """Return an empty pipeline without MULTI."""
        return self._client.pipeline(transaction=False)

    async def value(self, session_id: UUID) -> bytes | None:
        """Return a session's value."""
        value: bytes | None = await cast("Any", self._client.get(keys.value_key(session_id)))
        return value

    async def values(self, session_ids: Iterable[UUID]) -> list[bytes]:
        """Return the values of those sessions that are there, in one round trip."""
        pipeline = self.pipeline()
        for session_id in session_ids:
            pipeline.get(keys.value_key(session_id))
        return [value for value in await pipeline.execute() if value] if len(pipeline) else []

    async def run(self, name: str, session_id: UUID, *arguments: Any, pipeline: Any = None) -> Any:
        """Run a script on a session, as the last command of a pipeline if one is given."""
        (result,) = await self.run_all([on(name, session_id, *arguments)], pipeline=pipeline)
        return result

    async def mend(self, pointer: str, session_id: UUID, score: int, instead: int | None) -> None:
        """Remove a session's pointer or give it another score, unless another save has touched it meanwhile."""
        await self.run_all([("mend", pointer, (str(session_id), score, "" if instead is None else instead))])

    async def run_all(self, calls: Iterable[Call], *, pipeline: Any = None) -> list[Any]:
        """Run scripts in one round trip and return what each returned; load those that the server does not know."""
        queued = self.pipeline() if pipeline is None else pipeline
        called: list[tuple[Script, Call]] = [(script(call[0]), call) for call in calls]
        for loaded, (_, key, arguments) in called:
            queued.evalsha(loaded.sha, 1, key, *arguments)
        answers = await queued.execute(raise_on_error=False) if called else []
        results = []
        for (loaded, (_, key, arguments)), answer in zip(called, answers[-len(called) :], strict=True):
            result = answer
            if isinstance(answer, NoScriptError):
                result = await cast("Any", self._client.eval(loaded.text, 1, key, *arguments))
            if isinstance(result, Exception):
                raise result
            results.append(result)
        return results


def on(name: str, session_id: UUID, *arguments: Any) -> Call:
    """Return the call of a script on a session: it gets the bucket's prefix and the id before the other arguments."""
    return name, keys.value_key(session_id), (keys.bucket(session_id), str(session_id), *arguments)
