"""Replays records: first the configuration, then conversations turn by turn, each read back at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from convostore.errors import ConflictError
from convostore.replay.configuration import Configuration
from convostore.replay.conversation import Conversation
from convostore.replay.embedder import HashingEmbedder
from convostore.replay.records import ConversationRecord, Record
from convostore.replay.report import Report
from convostore.stores import Stores


class Replay:
    """Writes records to five stores and reads them back.

    Ids are derived from the tenant and from names, so that a replay is idempotent.

    Args:
        stores: the stores.
        tenant_id: the tenant of the data.
        embedder: embeds episodes and rules.
    """

    def __init__(self, stores: Stores, tenant_id: UUID, embedder: HashingEmbedder | None = None) -> None:
        self._stores = stores.for_tenant(tenant_id)
        self._tenant_id = tenant_id
        self._embedder = embedder or HashingEmbedder()
        self._report = Report()
        self._configuration = Configuration(self._stores.config, tenant_id, self._embedder, self._report)

    async def play(self, read: Callable[[], Iterable[Record]], played: Callable[[Record], None]) -> Report:
        """Write records, the configuration first, read them back, and return the report.

        Args:
            read: returns the records; called twice, so that they need not fit into memory.
            played: called after each record.

        Raises:
            StoreError: a store fails, or refuses a record.
        """
        for record in read():
            if not isinstance(record, ConversationRecord):
                await self._configuration.add(record)
                played(record)
        await self._configuration.check()
        for record in read():
            if isinstance(record, ConversationRecord):
                await self._converse(record)
                played(record)
        return self._report

    async def _converse(self, record: ConversationRecord) -> None:
        conversation = Conversation(self._stores, self._tenant_id, record, self._embedder, self._report)
        try:
            await conversation.play()
        except ConflictError as error:
            problem = f"conversation {record.key}: this key was replayed before with other content"
            raise ConflictError(f"{problem} ({error})", code=error.code) from error
