"""Configuration: rules found by vector."""

from __future__ import annotations

from uuid import UUID, uuid4

from convostore.contracts import ConfigStore
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import save_rules


class RuleSearchContract(StoreContract):
    """Vector search over rules."""

    async def test_the_nearest_rules_come_first_with_their_cosine(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        far, near, exact = await save_rules(
            store,
            tenant,
            agent,
            {"embedding": [0.0, 1.0]},
            {"embedding": [3.0, 4.0]},
            {"embedding": [2.0, 0.0]},
        )
        found = await store.vector_search_rules([1.0, 0.0], tenant, agent)
        assert found == [(exact, 1.0), (near, 0.6), (far, 0.0)]

    async def test_the_lowest_score_is_inclusive_and_may_be_negative(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        against, near = await save_rules(
            store, tenant, agent, {"embedding": [-1.0, 0.0]}, {"embedding": [0.7, 0.714142842854285]}
        )
        assert await store.vector_search_rules([1.0, 0.0], tenant, agent, min_score=0.7) == [(near, 0.7)]
        assert await store.vector_search_rules([1.0, 0.0], tenant, agent, min_score=0.700001) == []
        found = await store.vector_search_rules([1.0, 0.0], tenant, agent, min_score=-1.0)
        assert found == [(near, 0.7), (against, -1.0)]

    async def test_equal_scores_come_by_id_and_pages_partition(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        rules = await save_rules(
            store, tenant, agent, *({"embedding": [1.0, 1.0], "id": UUID(int=n)} for n in (4, 2, 3, 1))
        )
        expected = [(rule, 1.0) for rule in sorted(rules, key=lambda rule: rule.id)]
        assert await store.vector_search_rules([1.0, 1.0], tenant, agent) == expected
        pages = [await store.vector_search_rules([1.0, 1.0], tenant, agent, limit=3, offset=o) for o in (0, 3)]
        assert pages == [expected[:3], expected[3:]]

    async def test_only_comparable_rules_are_found(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        here, _, _, off, _, model = await save_rules(
            store,
            tenant,
            agent,
            {"embedding": [1.0, 0.0]},
            {"embedding": [1.0, 0.0, 0.0]},
            {},
            {"embedding": [1.0, 0.1], "enabled": False},
            {"embedding": [1.0]},
            {"embedding": [1.0, 1.0], "embedding_model": "m"},
        )
        await save_rules(store, tenant, uuid4(), {"embedding": [1.0, 0.0]})
        await save_rules(store, uuid4(), agent, {"embedding": [1.0, 0.0]})
        (deleted,) = await save_rules(store, tenant, agent, {"embedding": [1.0, 0.0]})
        await store.delete_rule(tenant, deleted.id)
        query = [1.0, 0.0]
        assert [rule for rule, _ in await store.vector_search_rules(query, tenant, agent)] == [here, model]
        found = await store.vector_search_rules(query, tenant, agent, enabled_only=False)
        assert [rule for rule, _ in found] == [here, off, model]
        found = await store.vector_search_rules(query, tenant, agent, embedding_model="m")
        assert [rule for rule, _ in found] == [model]

    async def test_very_short_and_very_long_vectors_have_a_score(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        rules = await save_rules(
            store,
            tenant,
            agent,
            {"embedding": [1e-40, 0.0], "id": UUID(int=1)},
            {"embedding": [3e38, 0.0], "id": UUID(int=2)},
        )
        found = await store.vector_search_rules([1e-30, 0.0], tenant, agent)
        assert found == [(rule, 1.0) for rule in rules]
