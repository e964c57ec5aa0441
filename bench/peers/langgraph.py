"""LangGraph: items in `AsyncPostgresStore`, sessions in the checkpointer `AsyncPostgresSaver`.

Items are dictionaries that nobody validates; a namespace begins with the tenant, which nothing enforces. Every save of
a session adds a checkpoint. The index of the vectors is dropped, so that searches are exact: with it, a search for 5 of
the 200 episodes of one of 64 customers finds fewer, since namespaces are compared after the index was asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.store.base import PutOp
from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from bench.conversations import FOUND, Conversation, Given
from bench.data import DIMENSIONS, Vectors
from bench.engines import CONNECTIONS
from bench.peers import MESSAGES, Counts, Loaded, Task
from convostore.models import Episode

_VECTORS = Vectors()


async def _embed(texts: Sequence[str]) -> list[list[float]]:
    """Return embeddings at hardly any cost: a text ends with the number of its vector."""
    return [_VECTORS.at(int(text.rpartition(" ")[2])) for text in texts]


class LangGraph:
    """The tasks by LangGraph."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._store = AsyncPostgresStore(pool, index={"dims": DIMENSIONS, "embed": _embed, "fields": ["text"]})
        self._sessions = AsyncPostgresSaver(pool)
        self.tasks: dict[str, Task] = {"turn": self.turn, "history": self.history}

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str) -> AsyncIterator[LangGraph]:
        # As its documentation wants connections to be.
        how = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        async with AsyncConnectionPool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=how) as pool:
            peer = cls(pool)
            yield peer
            # The store has no method that ends its task.
            if (task := peer._store._task) is not None:
                task.cancel()

    async def prepare(self, loaded: Sequence[Loaded]) -> None:
        await self._store.setup()
        async with self._pool.connection() as connection:
            await connection.execute("DROP INDEX store_vectors_embedding_idx")
        await self._sessions.setup()
        agents = {of.conversation.agent_id: of for of in loaded}
        for of in agents.values():
            put = []
            for kind, found in of.config.__dict__.items():
                for part in [found] if kind == "agent" else found:
                    item = part.model_dump(mode="json", exclude={"embedding"})
                    if kind == "rules":
                        item["text"] = _text(part.name, part.id)
                    namespace = _config(of.conversation, kind)
                    put.append(PutOp(namespace, str(part.id), item, index=None if kind == "rules" else False))
            await self._store.abatch(put)
        for of in loaded:
            c = of.conversation
            profile = of.profile.model_dump(mode="json")
            await self._store.aput(_tenant(c, "profiles"), c.user_channel_id, profile, index=False)
            await self._store.abatch([_put(c, episode) for episode in of.episodes])
            await self._save(c, {}, of.session.model_dump(mode="json"), of.messages)

    async def turn(self, given: Given) -> Counts:
        c, store = given.conversation, self._store
        checkpoint = await self._session(c)
        profile: Any = await store.aget(_tenant(c, "profiles"), c.user_channel_id)
        config = await store.asearch(_config(c), limit=100)
        query = _text("Where is my parcel?", given.record.turn_id)
        rules = await store.asearch(_config(c, "rules"), query=query, limit=FOUND)
        episodes = await store.asearch(_episodes(c), query=query, limit=FOUND)
        await store.abatch([_put(c, episode) for episode in given.episodes])
        profile.value["fields"][given.field.name] = given.field.model_dump(mode="json")
        await store.aput(_tenant(c, "profiles"), c.user_channel_id, profile.value, index=False)
        turn, event = given.record, given.event
        await store.aput(_tenant(c, "turns"), str(turn.turn_id), turn.model_dump(mode="json"), index=False)
        await store.aput(_tenant(c, "events"), str(event.id), event.model_dump(mode="json"), index=False)
        values = checkpoint.checkpoint["channel_values"]
        values["session"]["variables"]["turn"] = given.number
        await self._save(c, checkpoint.config["configurable"], values["session"], values["messages"])
        return len(config), len(rules), len(episodes)

    async def history(self, given: Given) -> Counts:
        c = given.conversation
        checkpoint = await self._session(c)
        values = checkpoint.checkpoint["channel_values"]
        values["session"]["variables"]["turn"] = given.number
        messages = values["messages"]
        said = [*messages, given.record.user_message, given.record.agent_response][-MESSAGES:]
        await self._save(c, checkpoint.config["configurable"], values["session"], said)
        return (len(messages),)

    async def _session(self, c: Conversation) -> Any:
        return await self._sessions.aget_tuple({"configurable": {"thread_id": str(c.session_id)}})

    async def _save(self, c: Conversation, parent: Any, session: dict[str, Any], messages: list[str]) -> None:
        checkpoint = empty_checkpoint()
        versions: Any = dict.fromkeys(("session", "messages"), checkpoint["id"])
        checkpoint["channel_values"] = {"session": session, "messages": messages}
        checkpoint["channel_versions"] = versions
        config: Any = {"configurable": {**parent, "thread_id": str(c.session_id), "checkpoint_ns": ""}}
        await self._sessions.aput(config, checkpoint, {"source": "loop", "step": 0, "parents": {}}, versions)


def _tenant(c: Conversation, kind: str) -> tuple[str, ...]:
    return str(c.tenant_id), kind


def _config(c: Conversation, *kind: str) -> tuple[str, ...]:
    return str(c.tenant_id), str(c.agent_id), "config", *kind


def _episodes(c: Conversation) -> tuple[str, ...]:
    return str(c.tenant_id), str(c.agent_id), "episodes", str(c.profile_id)


def _put(c: Conversation, episode: Episode) -> PutOp:
    item = episode.model_dump(mode="json", exclude={"embedding"}) | {"text": _text(episode.content, episode.id)}
    return PutOp(_episodes(c), str(episode.id), item)


def _text(words: str, key: UUID) -> str:
    return f"{words} {key.int}"
