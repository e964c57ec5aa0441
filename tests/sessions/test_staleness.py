"""`get(max_staleness=)` in several processes: how old answers are, and that those of one process do not go back."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from uuid import UUID, uuid4

from convostore.contracts import SessionStore
from convostore.errors import ConflictError
from convostore.testing.factories import make_session
from tests.sessions.conftest import Worker
from tests.sessions.linearizability import Operation, linearizable

PROCESSES, WORKERS, OPERATIONS = 3, 3, 60
STALENESS = (0.0, 0.02, 0.1)


class Work:
    """Workers of several processes on few sessions.

    Attributes:
        histories: by session; a read may take effect as much before its call as it accepted.
        seen: by process and session, when a call began and ended that was given a revision.
    """

    def __init__(self) -> None:
        self.tenant = uuid4()
        self.sessions = [uuid4() for _ in range(3)]
        self.histories: dict[UUID, list[Operation]] = defaultdict(list)
        self.seen: dict[tuple[int, UUID], list[tuple[float, float, int]]] = defaultdict(list)

    async def run(self, process: int, store: SessionStore) -> None:
        known = dict.fromkeys(self.sessions, 0)
        for _ in range(OPERATIONS):
            await asyncio.sleep(random.uniform(0, 0.005))
            session_id = random.choice(self.sessions)
            if random.random() < 0.8:
                revision = await self._get(store, session_id, random.choice(STALENESS), process)
            else:
                revision = await self._save(store, session_id, known[session_id], process)
            known[session_id] = revision

    async def _get(self, store: SessionStore, session_id: UUID, staleness: float, process: int) -> int:
        start = time.monotonic()
        read = await store.get(session_id, max_staleness=staleness)
        end, revision = time.monotonic(), read.revision if read else 0
        answer = (read.revision, read.turn_count) if read else None
        self.histories[session_id].append(Operation("get", start - staleness, end, answer=answer))
        self.seen[process, session_id].append((start, end, revision))
        return revision

    async def _save(self, store: SessionStore, session_id: UUID, expected: int, process: int) -> int:
        content, start = random.getrandbits(40), time.monotonic()
        session = make_session(self.tenant, session_id=session_id, revision=expected, turn_count=content)
        try:
            await store.save(session)
        except ConflictError as conflict:
            found, end = conflict.current_revision or 0, time.monotonic()
            refused = Operation("save", start, end, expected=expected, answer=found, refused=True)
            self.histories[session_id].append(refused)
            return found
        end = time.monotonic()
        self.histories[session_id].append(Operation("save", start, end, expected=expected, content=content))
        self.seen[process, session_id].append((start, end, session.revision))
        return session.revision


async def test_answers_are_as_old_as_accepted_and_those_of_one_process_do_not_go_back(
    worker: Worker,
) -> None:
    work, stores = Work(), [await worker() for _ in range(PROCESSES)]
    await asyncio.gather(*(work.run(*each) for each in list(enumerate(stores)) * WORKERS))
    assert sum(map(len, work.histories.values())) == PROCESSES * WORKERS * OPERATIONS
    assert all(map(linearizable, work.histories.values()))
    for calls in work.seen.values():
        for _, end, revision in calls:
            assert all(later >= revision for start, _, later in calls if start > end)
