"""What a turn begins with, in one statement composed of those of its stores."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from convostore.call.call import current_call
from convostore.domain.declarations import AGENT
from convostore.domain.fusion import CANDIDATES
from convostore.domain.sessions import new_session, no_such_session
from convostore.domain.text import parse_query
from convostore.errors import ConflictError, StoreError
from convostore.gateway.memory import Ranking, Words
from convostore.gateway.turn import TurnParts, no_such_agent
from convostore.models import Channel, Session, Turn
from convostore.postgres.composition import Expression, Part, composed
from convostore.postgres.database import Database
from convostore.postgres.kept import Configuration
from convostore.postgres.memory import fusing
from convostore.postgres.profile import profile_in
from convostore.postgres.queries import queries
from convostore.postgres.vectors import NO_TABLE

_MIN_SCORE, _WEIGHTS = 0.0, (0.5, 0.5)
"""The defaults of a search."""

_AGENT = Expression("SELECT s.agent_id FROM session AS s")
_CUSTOMER = Expression("SELECT p.id FROM profile AS p WHERE p.deleted_at IS NULL")


def _of_session(column: str) -> Expression:
    return Expression(f"SELECT s.{column} FROM session AS s")


class Asked(NamedTuple):
    """What a turn is asked for: the words and the embedding of a search, and how much it returns."""

    query: str | None
    embedding: list[float] | None
    rules: int
    episodes: int


class LoadStatement:
    """Loads a turn.

    Args:
        stores: on the pool.
        tenant_id: the tenant.
        asked: what is searched.
    """

    def __init__(self, stores: TurnParts, tenant_id: UUID, asked: Asked) -> None:
        self._stores: Any = stores
        self._tenant_id = tenant_id
        self._asked = asked
        self._parts: list[Part] = []
        self._nearest: Any = None
        self._created: UUID | None = None

    def by_id(self, session_id: UUID) -> None:
        """Begin with the session that has an id."""
        self._add(
            "session",
            queries("session").get_session_and_generation_of_tenant(session_id=session_id, tenant_id=self._tenant_id),
        )

    def by_identity(self, agent_id: UUID, channel: Channel, user_channel_id: str) -> None:
        """Begin with the open session of a channel identity with an agent, which is created if there is none."""
        self._created = current_call().write_id
        session = new_session(self._created, self._tenant_id, agent_id, channel, user_channel_id)
        agent = self._stores.config._table(AGENT).getting(self._tenant_id, id=agent_id)
        self._add("agent", agent, rows=1)
        self._add("session", self._stores.sessions._sessions.opening(session), follows="agent")

    async def run(self, database: Database, agent_id: UUID | None) -> Turn | None:
        """Return the turn; None if it takes more than a statement, which is rare.

        So it is while another call creates the session, after a merge of the profile, or if the table of a large space
        has just been dropped. A configuration that has changed since it was kept takes the statement a second time.

        Args:
            database: where to run it.
            agent_id: the agent whose configuration is likely to be asked for.

        Raises:
            NotFoundError: there is no such session or agent.
        """
        begun = len(self._parts)
        profile = queries("profile").profile_by_id_or_identity(
            tenant_id=self._tenant_id,
            profile_id=_of_session("customer_profile_id"),
            channel=_of_session("channel"),
            channel_user_id=_of_session("user_channel_id"),
        )
        self._add("profile", profile)
        # The plan of what reads the rows is half of the whole, and costs as much to start as to run.
        kept, of = self._stores.config._kept.get((self._tenant_id, agent_id)), {"agent_id": _AGENT}
        config = queries("config").get_agent_config(tenant_id=self._tenant_id, **of, known=None)
        self._add("config", queries("config").get_agent_state(tenant_id=self._tenant_id, **of) if kept else config)
        if self._asked.embedding is not None:
            await self._search(self._asked.embedding)
        arrays = [part.name for part in self._parts if part.name not in ("agent", "config")]
        rows = ", ".join(f"ARRAY(SELECT ROW(r.*) FROM {name} AS r) AS turn_{name}" for name in arrays)
        select = f"SELECT config.*, {rows} FROM (VALUES (true)) AS one LEFT JOIN config ON true"
        try:
            row = await database.fetchrow_in_time(*composed(self._tenant_id, self._parts, select))
        except ConflictError:
            raise no_such_agent() from None
        except StoreError as error:
            if error.code != NO_TABLE:
                raise
            return None
        assert row is not None
        if kept is not None and row["state"] not in (None, kept.state):
            del self._parts[begun:]
            return await self.run(database, None)
        return self._turn(row, kept)

    async def _search(self, embedding: list[float]) -> None:
        query, (_, _, rules, episodes) = self._asked.query, self._asked
        config, memory, of = self._stores.config, self._stores.memory, (self._tenant_id, embedding)
        if rules and query is not None:
            hybrid = config._searching(query, embedding, self._tenant_id, _AGENT, limit=rules, enabled=True)
            self._add("rules", _ids(*hybrid))
        elif rules:
            only = {"agent_id": _AGENT, "enabled": True}
            search = await config._nearest.prepared(*of, only, rules, 0, _MIN_SCORE)
            self._add("rules", _ids(search.statement, *search.arguments))
        if episodes:
            only = {"agent_id": _AGENT, "customer_profile_id": _CUSTOMER}
            wanted = episodes if query is None else max(episodes, CANDIDATES)
            self._nearest = search = await memory._nearest.prepared(*of, only, wanted, 0, _MIN_SCORE)
            statement = (search.statement, *search.arguments)
            if query is not None:
                ranking = Ranking(_WEIGHTS, None, memory._clock(), 0)
                statement = fusing(search, Words(parse_query(query), None), ranking, episodes)
            self._add("episodes", statement)

    def _turn(self, row: asyncpg.Record, kept: Configuration | None) -> Turn | None:
        stores, sessions, profiles = self._stores, row["turn_session"], row["turn_profile"]
        if not sessions:
            if self._created is None:
                raise no_such_session()
            return None
        if row["id"] is None:
            raise no_such_agent()
        session: Session = stores.sessions._session(sessions[0], self._tenant_id)
        profile = profile_in(profiles[0], self._tenant_id) if profiles else None
        if profile is not None and profile.merged_into is not None:
            return None
        known = stores.config._known(row, kept, self._tenant_id)
        rules, episodes = row.get("turn_rules"), row.get("turn_episodes")
        return Turn.model_construct(
            session=session,
            created=session.session_id == self._created,
            profile=profile if profile is not None and profile.deleted_at is None else None,
            config=stores.config._configuration(row, known, self._tenant_id),
            rules=[] if rules is None else stores.config._found(known, rules),
            episodes=[]
            if episodes is None
            else stores.memory._nearest.found_in_part(self._nearest, episodes, self._tenant_id),
        )

    def _add(
        self, name: str, statement: tuple[Any, ...], *, rows: int | None = None, follows: str | None = None
    ) -> None:
        sql, _, *arguments = statement
        self._parts.append(Part(name, sql, tuple(arguments), rows, follows))


def _ids(sql: str, *arguments: Any) -> tuple[Any, ...]:
    """Return a search that returns ids and scores: the rows are among those of the configuration."""
    return f"SELECT s.id, s.score FROM ({sql}) AS s", *arguments
