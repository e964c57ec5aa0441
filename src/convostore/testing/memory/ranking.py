"""The contract of memory stores: what changes the order of a hybrid search, and what explains it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.call.call import Call, Proceed
from convostore.contracts import MemoryStore
from convostore.errors import ConnectionError, ValidationError
from convostore.models import Episode, SearchHit
from convostore.testing.base import StoreContract
from convostore.testing.factories import at, make_episode
from convostore.testing.faults import around_attempts
from convostore.testing.memory.episodes import add_episodes


async def by_length(_: str, episodes: list[Episode]) -> list[float]:
    """A reranker for which short episodes are best."""
    return [-len(episode.content) for episode in episodes]


async def conversation(store: MemoryStore, *changes: dict[str, Any], **common: Any) -> list[Episode]:
    """Add the turns of a session of a new tenant, unless another is given, one a second."""
    common = {"tenant_id": uuid4(), "agent_id": uuid4(), "session_id": uuid4(), "content": "noise"} | common
    turns = [
        make_episode(**{**common, "occurred_at": at(place), "recorded_at": at(place), **change})
        for place, change in enumerate(changes)
    ]
    await store.add_episodes(turns)
    return turns


def searches(store: MemoryStore, episode: Episode) -> tuple[Callable[..., Awaitable[Any]], ...]:
    """Return search and explanation for "tea" and a vector, in memory of an episode's agent."""
    asked = ("tea", [1.0, 0.0], episode.tenant_id, episode.agent_id)
    return partial(store.search_episodes, *asked), partial(store.explain_episodes, *asked)


OPTIONS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({}, {"weights": (1, 3), "half_life": timedelta(seconds=4), "min_score": -1.0}),
    ({}, {"context": 2}),
    ({}, {"rerank": by_length}),
    ({}, {"diversity": 0.6}),
    ({}, {"prefix": True, "language": "simple", "content_type": "message", "as_of": at(20)}),
)
"""What a search can be asked for: each of a row with each of the others."""


class RankingContract(StoreContract):
    """Neighbours, diversity, rerankers, and explanations of hybrid search."""

    async def test_every_search_is_explained(self, store: MemoryStore) -> None:
        vectors: tuple[Any, ...] = ([1.0, 0.0], [0.9, 0.1], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0], [1.0], None)
        texts = ("tea", "tea and milk", "team", "coffee", "no tea", "teapot lemon")
        first, *_ = await conversation(
            store,
            *(
                {"content": f"{texts[n % 6]} {n}", "embedding": vectors[n % 7], "session_id": UUID(int=n % 3)}
                for n in range(18)
            ),
            {"content": "tea of old", "content_type": "fact", "valid_to": at(2), "session_id": UUID(int=1)},
        )
        search, explain = searches(store, first)
        for options in product(*OPTIONS):
            asked = {name: value for each in options for name, value in each.items()}
            hits: list[SearchHit] = await explain(**asked, limit=50)
            assert [(hit.episode, hit.score) for hit in hits] == await search(**asked, limit=50), asked
            assert [hit.rank for hit in hits] == [*range(1, len(hits) + 1)]
            page = await explain(**asked, limit=3, offset=2)
            assert [(hit.episode, hit.rank, hit.score) for hit in page] == [
                (hit.episode, hit.rank, hit.score) for hit in hits[2:5]
            ]
            for hit in hits:
                fused = (hit.text_part + hit.vector_part) * hit.recency + hit.context_part
                assert hit.score == pytest.approx(fused if hit.rerank_score is None else hit.rerank_score, abs=1e-6)
            if "diversity" not in asked:
                assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert await store.explain_episodes("tea", [1.0, 0.0], uuid4(), first.agent_id) == []

    async def test_an_explanation_has_the_scores_and_ranks_of_both_searches(self, store: MemoryStore) -> None:
        word, meaning, neighbour = await conversation(
            store, {"content": "tea"}, {"embedding": [0.64, math.sqrt(1 - 0.64**2)]}, {}, embedding_model="m"
        )
        _, explain = searches(store, word)
        first, second, third = sorted(await explain(context=1), key=lambda hit: hit.episode.recorded_at)
        assert [hit.episode for hit in (first, second, third)] == [word, meaning, neighbour]
        (found,) = await store.explain_episodes("tea", [1.0], word.tenant_id, word.agent_id)
        assert found.text_score is not None
        assert (first.text_score, first.text_rank, first.vector_score, first.vector_rank) == (
            *(found.text_score, 1),
            *(None, None),
        )
        assert (second.text_score, second.text_rank, second.vector_score, second.vector_rank) == (None, None, 0.64, 1)
        parts = [(hit.text_part, hit.vector_part) for hit in (first, second)]
        assert parts == [(pytest.approx(0.5), 0), (0, pytest.approx(0.32))]
        assert [hit.context_part for hit in (first, second, third)] == pytest.approx([0.096, 0.15, 0.096])
        assert third == SearchHit(episode=neighbour, rank=3, score=0.096, context_part=third.context_part)

    async def test_a_turn_lends_part_of_its_score_to_those_around_it(self, store: MemoryStore) -> None:
        turns = await conversation(store, *({"content": "tea" if place == 3 else "noise"} for place in range(7)))
        tea = turns[3]
        for change in ({"session_id": uuid4()}, {"agent_id": uuid4()}, {"tenant_id": uuid4()}, {"session_id": None}):
            same = {"tenant_id": tea.tenant_id, "agent_id": tea.agent_id, "session_id": tea.session_id}
            await conversation(store, {}, {}, {}, {}, {}, **{**same, **change})
        search, _ = searches(store, tea)
        assert await search() == [(tea, 0.5)]
        for context in (1, 2, 10):
            near = sorted(
                (-round(0.5 * 0.3 ** abs(place - 3), 6), turn.id, turn)
                for place, turn in enumerate(turns)
                if 0 < abs(place - 3) <= context
            )
            assert await search(context=context) == [(tea, 0.5), *((turn, -score) for score, _, turn in near)]
        old = await search(context=1, half_life=timedelta(seconds=1), as_of=at(5))
        assert [score for _, score in old] == [0.125, 0.0375, 0.0375]

    async def test_neighbours_are_those_that_the_filters_leave(self, store: MemoryStore) -> None:
        customer = uuid4()
        _, before, tea, fact, after, _ = await conversation(
            store,
            *({}, {"customer_profile_id": customer}, {"content": "tea", "customer_profile_id": customer}),
            *({"content_type": "fact", "customer_profile_id": customer}, {"customer_profile_id": customer}, {}),
        )
        search, _ = searches(store, tea)

        async def found(**only: Any) -> set[UUID]:
            return {episode.id for episode, _ in await search(context=1, **only)}

        assert await found() == await found(session_id=tea.session_id) == {before.id, tea.id, fact.id}
        assert await found(content_type="message") == {before.id, tea.id, after.id}
        assert await found(since=at(2)) == await found(since=at(2), until=at(4)) == {tea.id, fact.id}
        assert {episode.id for episode, _ in await search(context=10, customer_profile_id=customer)} == {
            *(before.id, tea.id, fact.id, after.id)
        }

    async def test_neighbours_recorded_at_one_moment_stand_in_the_order_of_their_ids(self, store: MemoryStore) -> None:
        moment = {"recorded_at": at(0)}
        numbers = (4, 2, 0, 3, 1)
        ids = sorted(uuid4() for _ in numbers)
        changes = ({**moment, "id": ids[n], "content": "tea" if n == 2 else "noise"} for n in numbers)
        turns = await conversation(store, *changes)
        search, _ = searches(store, turns[0])
        assert [episode.id for episode, _ in await search(context=1)] == [ids[2], ids[1], ids[3]]

    async def test_found_neighbours_lend_to_each_other(self, store: MemoryStore) -> None:
        one, other = await conversation(store, {"content": "tea"}, {"content": "tea"})
        search, _ = searches(store, one)
        assert await search(context=3) == [(turn, 0.65) for turn in sorted((one, other), key=lambda turn: turn.id)]

    async def test_diversity_puts_the_unlike_first_and_changes_no_score(self, store: MemoryStore) -> None:
        vectors = {"best": [1.0, 0.0], "alike": [1.0, 0.01], "also": [1.0, -0.02], "unlike": [0.6, 1.0]}
        turns = await conversation(store, *({"embedding": each} for each in vectors.values()))
        names = dict(zip((turn.id for turn in turns), vectors, strict=True))
        search, _ = searches(store, turns[0])
        best = await search()
        assert [names[episode.id] for episode, _ in best] == ["best", "alike", "also", "unlike"]
        diverse = await search(diversity=0.85)
        assert [names[episode.id] for episode, _ in diverse] == ["best", "unlike", "also", "alike"]
        assert sorted(diverse, key=lambda hit: hit[0].id) == sorted(best, key=lambda hit: hit[0].id)
        assert await search(diversity=0.85, limit=2, offset=1) == diverse[1:3]
        assert await search(diversity=0.85, offset=4) == []

    async def test_embeddings_of_different_models_are_not_alike(self, store: MemoryStore) -> None:
        common: dict[str, Any] = {"embedding": [1.0, 0.0]}
        first, other, same = await conversation(
            store,
            {**common, "content": "tea", "embedding_model": "a", "id": UUID(int=1)},
            {**common, "embedding_model": "b", "id": UUID(int=3)},
            {**common, "embedding_model": "a", "id": UUID(int=2)},
        )
        search, _ = searches(store, first)
        assert [episode for episode, _ in await search()] == [first, same, other]
        assert [episode for episode, _ in await search(diversity=0.5)] == [first, other, same]

    async def test_a_reranker_s_numbers_are_the_scores(self, store: MemoryStore) -> None:
        turns = await conversation(store, *({"content": f"tea {'x' * n}"} for n in (3, 1, 2)))
        search, explain = searches(store, turns[0])
        asked: list[tuple[str, list[UUID]]] = []

        async def rerank(query: str, episodes: list[Episode]) -> list[float]:
            asked.append((query, [episode.id for episode in episodes]))
            return await by_length(query, episodes)

        fused = [episode.id for episode, _ in await search()]
        assert await search(rerank=rerank) == [(turns[1], -5.0), (turns[2], -6.0), (turns[0], -7.0)]
        assert await search(rerank=rerank, limit=1, offset=1) == [(turns[2], -6.0)]
        assert asked == [("tea", fused)] * 2
        assert [hit.rerank_score for hit in await explain(rerank=rerank)] == [-5.0, -6.0, -7.0]

        async def undecided(_: str, episodes: list[Episode]) -> list[float]:
            return [1e-9] * len(episodes)

        assert await search(rerank=undecided) == [
            (next(turn for turn in turns if turn.id == key), 1e-9) for key in fused
        ]
        asked.clear()
        assert await store.search_episodes("milk", [1.0], turns[0].tenant_id, turns[0].agent_id, rerank=rerank) == []
        assert asked == []

    async def test_diversity_follows_the_reranker(self, store: MemoryStore) -> None:
        vectors = ([0.0, 1.0], [0.1, 1.0], [1.0, 0.0])
        a, b, c = await conversation(store, *({"embedding": vector, "content": "tea"} for vector in vectors))
        search, _ = searches(store, a)

        async def rerank(_: str, episodes: list[Episode]) -> list[float]:
            return [{a.id: 3.0, b.id: 2.0, c.id: 1.0}[episode.id] for episode in episodes]

        found = await search(rerank=rerank, diversity=0.6, min_score=-1.0)
        assert found == [(a, 3.0), (c, 1.0), (b, 2.0)]

    async def test_what_is_behind_the_best_hundred_stays_there(self, store: MemoryStore) -> None:
        turns = await conversation(store, *({"content": f"tea {number}"} for number in range(104)))
        search, explain = searches(store, turns[0])
        given: list[int] = []

        async def backwards(_: str, episodes: list[Episode]) -> list[float]:
            given.append(len(episodes))
            return [float(number) for number in range(len(episodes))]

        fused = [episode.id for episode, _ in await search(limit=104)]
        found = await explain(limit=104, rerank=backwards)
        assert [hit.episode.id for hit in found] == [*fused[99::-1], *fused[100:]]
        assert {hit.rerank_score for hit in found[100:]} == {None}
        assert given == [100]

    async def test_a_reranker_that_fails_leaves_the_order(
        self, store: MemoryStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        turns = await conversation(store, *({"content": f"tea {'secret ' * n}"} for n in (3, 1, 2)))
        search, _ = searches(store.within(1), turns[0])

        def returning(answer: Any) -> Callable[..., Awaitable[Any]]:
            async def rerank(*_: Any) -> Any:
                return answer

            return rerank

        async def failing(_: str, episodes: list[Episode]) -> list[float]:
            raise RuntimeError(episodes[0].content)

        async def late(*_: Any) -> list[float]:
            await asyncio.Event().wait()
            return []

        def waits_for_nothing(_: str, episodes: list[Episode]) -> list[float]:
            return [1.0] * len(episodes)

        fused = await search()
        wrong: tuple[Any, ...] = ([1.0], [1.0] * 4, [1.0, float("nan"), 1.0], ["x", "y", "z"], None, 1.0, [10**400] * 3)
        for rerank in (*map(returning, wrong), failing, late, waits_for_nothing):
            caplog.clear()
            with caplog.at_level(logging.WARNING, "convostore"):
                assert await search(rerank=rerank) == fused
            (record,) = (each for each in caplog.records if "rerank" in each.getMessage())
            assert (record.name, record.levelno) == ("convostore.memory", logging.WARNING)
            assert "secret" not in record.getMessage() + str(record.__dict__)

    async def test_cancellation_passes_a_reranker(self, store: MemoryStore) -> None:
        (tea,) = await conversation(store, {"content": "tea"})
        search, _ = searches(store, tea)
        asked = asyncio.Event()

        async def forever(*_: Any) -> list[float]:
            asked.set()
            await asyncio.Event().wait()
            return []

        task = asyncio.ensure_future(search(rerank=forever))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await search() == [(tea, 0.5)]

    async def test_a_call_with_a_reranker_is_a_call_like_any(self, store: MemoryStore) -> None:
        (tea,) = await conversation(store, {"content": "tea"})
        seen: list[Call] = []
        attempts: list[str] = []
        asked: list[str] = []

        async def rerank(query: str, _: list[Episode]) -> list[float]:
            asked.append(query)
            return [2.0]

        async def see(call: Call, proceed: Proceed) -> Any:
            seen.append(call)
            return await proceed(call)

        async def fail_first(call: Call, proceed: Proceed) -> Any:
            attempts.append(call.operation)
            if len(attempts) == 1:
                raise ConnectionError("lost", outcome="not_applied")
            return await proceed(call)

        search, _ = searches(around_attempts(store, fail_first).with_interceptors(see), tea)
        assert await search(rerank=rerank) == [(tea, 2.0)]
        assert [call.operation for call in seen] == ["search_episodes"]
        assert seen[0].arguments["rerank"] is rerank
        assert attempts == ["search_episodes"] * 2
        assert asked == ["tea"]

    async def test_options_out_of_bounds_are_refused(self, store: MemoryStore) -> None:
        (tea,) = await add_episodes(store, uuid4(), uuid4(), {})
        wrongs: dict[str, tuple[Any, ...]] = {
            "diversity": (-0.1, 1.1, float("nan"), True, "1", None),
            "context": (-1, 11, 1.0, True, None),
            "rerank": (1, "rerank", [by_length], True),
        }
        for call, (name, values) in product(searches(store, tea), wrongs.items()):
            for wrong in values:
                with pytest.raises(ValidationError, match=name):
                    await call(**{name: wrong})
