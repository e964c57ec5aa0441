"""A machine that drives a memory store and the reference alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from convostore.inmemory import InMemoryMemoryStore
from convostore.testing.factories import at, make_entity, make_episode, make_relationship
from convostore.testing.machines.base import Machine

few = st.integers(1, 4).map(lambda number: UUID(int=number))
"""Ids, of which there are so few that they meet."""
maybe = st.none() | few
moments = st.integers(0, 4).map(at)
maybe_moments = st.none() | moments
vectors = st.sampled_from([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0], [1.0]])
texts = st.lists(st.sampled_from(["tea", "team", "coffee", "no", "cup"]), max_size=4).map(" ".join)
queries = st.lists(st.sampled_from(["tea", "te", "coffee", '"tea cup"', "-no", "or", '-"no tea"', "cup"]), max_size=4)
names = st.lists(
    st.sampled_from(["tea", "TEA", "te", "Team", "cup", "no-cup", "成语", "语", "🎉"]), min_size=1, max_size=4
).map(" ".join)
kinds = st.sampled_from(["a", "b"])
scores = st.sampled_from([-1.0, 0.0, 0.6])
episode_filters = st.fixed_dictionaries(
    {},
    optional={
        "customer_profile_id": few,
        "session_id": few,
        "group_id": few,
        "content_type": st.sampled_from(["message", "fact"]),
        "since": moments,
        "until": moments,
        "as_of": moments,
    },
)
pages = st.fixed_dictionaries({}, optional={"limit": st.integers(1, 3), "offset": st.integers(0, 2)})

episodes = st.fixed_dictionaries(
    {"id": few, "group_id": few, "content": texts, "occurred_at": moments, "recorded_at": moments},
    optional={
        "customer_profile_id": few,
        "session_id": few,
        "content_type": st.just("fact"),
        "embedding": vectors,
        "valid_from": moments,
        "valid_to": moments,
    },
)
entities = st.fixed_dictionaries(
    {"id": few, "group_id": few, "entity_type": kinds, "recorded_at": moments, "valid_from": moments},
    optional={"customer_profile_id": few, "embedding": vectors, "valid_to": moments, "name": names},
)
edges = st.fixed_dictionaries(
    {
        "id": st.integers(1, 6).map(lambda number: UUID(int=number)),
        "group_id": few,
        "from_entity_id": few,
        "to_entity_id": few,
        "relation_type": kinds,
        "recorded_at": moments,
        "valid_from": moments,
    },
    optional={"valid_to": moments},
)


rankings = st.fixed_dictionaries(
    {},
    optional={
        "weights": st.sampled_from([(1.0, 0.0), (0.25, 0.75)]),
        "half_life": st.just(timedelta(seconds=1)),
        "diversity": st.sampled_from([0.5, 1.0]),
        "context": st.integers(1, 2),
        "prefix": st.just(True),
        "min_score": st.sampled_from([-1.0, 0.6]),
    },
)


def _close(one: dict[str, float | None], other: dict[str, float | None]) -> bool:
    """Return whether the numbers of two hits are the same, to six decimals."""
    pairs = zip(one.values(), other.values(), strict=True)
    return all(a is b if a is None or b is None else abs(a - b) <= 1e-6 for a, b in pairs)


class MemoryMachine(Machine):
    """One tenant and one agent of each store, which must not differ."""

    moment = at(2)

    @initialize()
    def begin(self) -> None:
        self.tenant, self.agent = uuid4(), uuid4()
        self.reference = InMemoryMemoryStore(clock=lambda: at(2))

    @rule(values=st.lists(episodes, max_size=4), many=st.booleans())
    def add_episodes(self, values: list[dict[str, Any]], many: bool) -> None:
        items = [make_episode(self.tenant, self.agent, **value) for value in values]
        self._add("episode", "episodes", items, many)

    @rule(values=st.lists(entities, max_size=4), many=st.booleans())
    def add_entities(self, values: list[dict[str, Any]], many: bool) -> None:
        items = [make_entity(self.tenant, self.agent, **value) for value in values]
        self._add("entity", "entities", items, many)

    @rule(values=st.lists(edges, max_size=4), many=st.booleans())
    def add_relationships(self, values: list[dict[str, Any]], many: bool) -> None:
        start = make_entity(self.tenant, self.agent)
        self._add("relationship", "relationships", [make_relationship(start, start, **it) for it in values], many)

    def _add(self, one: str, several: str, items: list[Any], many: bool) -> None:
        if many:
            self.both(f"add_{several}", items)
        else:
            for item in items:
                self.both(f"add_{one}", item)

    @rule(value=entities, revision=st.integers(0, 2), overwrite=st.booleans())
    def save_entity(self, value: dict[str, Any], revision: int, overwrite: bool) -> None:
        entity = make_entity(self.tenant, self.agent, **value, revision=revision)
        self.both("save_entity", entity, overwrite=overwrite)

    @rule(wanted=few, moment=moments)
    def invalidate(self, wanted: UUID, moment: datetime) -> None:
        self.both("invalidate_relationship", self.tenant, wanted, at=moment)

    @rule(what=st.sampled_from(["episode", "entity", "relationship", "by_group", "by_customer"]), wanted=few)
    def delete(self, what: str, wanted: UUID) -> None:
        self.both(f"delete_{what}", self.tenant, wanted)

    @rule(only=episode_filters, page=pages)
    def list_episodes(self, only: dict[str, Any], page: dict[str, Any]) -> None:
        found = self.both("get_episodes", self.tenant, self.agent, **only, **page)
        for episode in found:
            self.both("get_episodes", self.tenant, self.agent, **only, **page, after=episode)

    @rule(kind=st.none() | kinds, customer=maybe, as_of=maybe_moments, page=pages)
    def list_entities(self, kind: str | None, customer: UUID | None, as_of: Any, page: dict[str, Any]) -> None:
        only = {"entity_type": kind, "customer_profile_id": customer, "as_of": as_of}
        self.both("get_entities", self.tenant, self.agent, **only, **page)
        self.both("find_entities", self.tenant, self.agent, **only, **page, query_embedding=[0.6, 0.8], min_score=-1.0)

    @rule(name=names, kind=st.none() | kinds, vector=st.none() | vectors, score=scores, page=pages)
    def find_entities(
        self, name: str, kind: str | None, vector: list[float] | None, score: float, page: dict[str, Any]
    ) -> None:
        options = {"name": name, "entity_type": kind, "query_embedding": vector, "min_score": score, **page}
        self.both("find_entities", self.tenant, self.agent, **options)

    @rule(kind=st.none() | kinds, start=maybe, end=maybe, as_of=maybe_moments, page=pages)
    def list_relationships(
        self, kind: str | None, start: UUID | None, end: UUID | None, as_of: Any, page: dict[str, Any]
    ) -> None:
        only = {"relation_type": kind, "from_entity_id": start, "to_entity_id": end, "as_of": as_of}
        self.both("get_relationships", self.tenant, self.agent, **only, **page)

    @rule(words=queries, prefix=st.booleans(), only=episode_filters)
    def search_by_text(self, words: list[str], prefix: bool, only: dict[str, Any]) -> None:
        # Result sets: the reference ranks differently.
        results = [
            {
                episode.id: episode
                for episode in type(self).run(
                    store.text_search_episodes(" ".join(words), self.tenant, self.agent, prefix=prefix, **only)
                )
            }
            for store in (self.reference, self.backend)
        ]
        assert results[0] == results[1], words

    @rule(vector=vectors, only=episode_filters, score=scores)
    def search_by_meaning(self, vector: list[float], only: dict[str, Any], score: float) -> None:
        self.both("search_episodes", "", vector, self.tenant, self.agent, min_score=score, **only)

    @rule(words=queries, vector=vectors, only=episode_filters, options=rankings, page=pages)
    def search_by_both(
        self, words: list[str], vector: list[float], only: dict[str, Any], options: dict[str, Any], page: dict[str, Any]
    ) -> None:
        results = [
            type(self).run(
                store.explain_episodes(" ".join(words), vector, self.tenant, self.agent, **only, **options, **page)
            )
            for store in (self.reference, self.backend)
        ]
        expected, found = ([(hit.episode, hit.rank) for hit in result] for result in results)
        assert expected == found, words
        for one, other in zip(*results, strict=True):
            assert _close(one.model_dump(exclude={"episode"}), other.model_dump(exclude={"episode"})), words

    @rule(starts=st.lists(few, max_size=2), types=st.none() | st.lists(kinds), depth=st.integers(1, 4), as_of=moments)
    def walk(self, starts: list[UUID], types: list[str] | None, depth: int, as_of: datetime) -> None:
        options = {"relationship_types": types, "max_depth": depth, "as_of": as_of}
        self.both("traverse_from_entities", self.tenant, starts, **options)
        self.both("neighbourhood", self.tenant, starts, **options)
