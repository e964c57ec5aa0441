"""A process that migrates in children of its own, which are killed where they are told to be.

Arguments: the DSN and the revision. Each line of its input is a list of numbers, for each of which a child starts to
migrate, all at once, to kill itself when it has run so many statements; 0 is never. It answers with their exit codes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import asyncpg

# Imported here, once, because the children would take most of their time for it.
from sqlalchemy import Engine, event
from sqlalchemy.dialects.postgresql import asyncpg as dialect  # noqa: F401

from convostore.postgres import migrate
from convostore.postgres.migrations import running  # noqa: F401

_execute = asyncpg.Connection.execute
left = 0


def ran(*_: Any) -> None:
    """Count a statement that has been run."""
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


async def execute(*args: Any, **kwargs: Any) -> str:
    """Run what is not run by Alembic: the bootstrap, and the beginning and the end of transactions."""
    status: str = await _execute(*args, **kwargs)
    ran()
    return status


def child(dsn: str, revision: str, statements: int) -> int:
    """Start a child and return its id."""
    global left
    if pid := os.fork():
        return pid
    left = statements
    asyncpg.Connection.execute = execute  # type: ignore[method-assign]
    event.listen(Engine, "after_cursor_execute", ran)
    asyncio.run(migrate(dsn, revision))
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        children = [child(sys.argv[1], sys.argv[2], statements) for statements in json.loads(line)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        print(json.dumps(codes), flush=True)
