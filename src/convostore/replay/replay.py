"""Replays records: the configuration as it is, conversations turn by turn, each read back when it has ended."""

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
    """Plays records into five stores, and reads back what it wrote.

    Ids follow from the tenant and from names, so that replaying the same records again changes nothing.

    Args:
        stores: the stores.
        tenant_id: the tenant that everything will belong to.
        embedder: gives episodes and rules their vectors.
    """

    def __init__(self, stores: Stores, tenant_id: UUID, embedder: HashingEmbedder | None = None) -> None:
        self._stores = stores.for_tenant(tenant_id)
        self._tenant_id = tenant_id
        self._embedder = embedder or HashingEmbedder()
        self._report = Report()
        self._configuration = Configuration(self._stores.config, tenant_id, self._embedder, self._report)

    async def play(self, read: Callable[[], Iterable[Record]], played: Callable[[Record], None]) -> Report:
        """Write records, read them back, and return the report: the configuration first, then the conversations.

        Args:
            read: returns the records; it is called twice, so that they need not fit into memory.
            played: is told each record when it has been played.

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
            problem = f"conversation {record.key}: other content was replayed under this key before"
            raise ConflictError(f"{problem} ({error})", code=error.code) from error
