"""Configuration: rules found by vector, and by words and vector together."""

from __future__ import annotations

from uuid import UUID, uuid4

from convostore.contracts import ConfigStore
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import save_rules
from convostore.testing.factories import make_rule
from convostore.testing.memory.search_pairs import PAIRS


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


class RuleHybridSearchContract(StoreContract):
    """Rules found by the words of their conditions and by vector together."""

    async def test_scores_of_words_and_meaning_are_fused(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        both, words, meaning, far, _ = await save_rules(
            store,
            tenant,
            agent,
            {"condition_text": "tea", "embedding": [1.0, 1.0]},
            {"condition_text": "tea and milk"},
            {"condition_text": "coffee", "embedding": [1.0, 0.0]},
            {"condition_text": "water", "embedding": [-1.0, 0.0]},
            {"condition_text": "juice", "embedding": [1.0]},
        )
        search = store.search_rules
        found = await search("TEA", [1.0, 0.0], tenant, agent)
        # Words: 1 for the shorter text, less for the longer, 0 for none. Meaning: .853553, 1, 0, none without a vector.
        assert found[:2] == [(both, 0.864277), (meaning, 0.5)]
        assert [rule for rule, _ in found] == [both, meaning, words, far]
        assert 0 < found[2][1] < 0.5
        assert found[3][1] == 0.0
        assert await search("tea", [1.0, 0.0], tenant, agent, limit=2) == found[:2]
        # A word that no rule has changes nothing.
        assert await search("tea please", [1.0, 0.0], tenant, agent, limit=2) == found[:2]

    async def test_what_only_one_search_finds_is_found(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        word, vector = await save_rules(
            store, tenant, agent, {"condition_text": "tea"}, {"condition_text": "coffee", "embedding": [1.0, 0.0]}
        )
        search = store.search_rules
        assert await search("tea", [1.0], tenant, agent) == [(word, 0.5)]
        assert await search("milk", [1.0, 0.0], tenant, agent) == [(vector, 0.5)]
        assert await search("", [1.0, 0.0], tenant, agent) == [(vector, 0.5)]
        assert await search("-tea", [1.0], tenant, agent) == []
        assert await search("tea or coffee", [1.0], tenant, agent) == [
            (rule, 0.255102) for rule in sorted((word, vector), key=lambda rule: rule.id)
        ]
        assert await search('"tea coffee"', [1.0], tenant, agent) == []

    async def test_words_are_counted_among_the_rules_that_are_asked_for(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        often, rare, *_ = await save_rules(
            store, tenant, agent, *({"condition_text": text} for text in ("tea", "milk", "tea sugar", "tea lemon"))
        )
        # Among the others, the rare word is a frequent one.
        others = [{"condition_text": "milk"}] * 20
        disabled = await save_rules(store, tenant, agent, *({**rule, "enabled": False} for rule in others))
        deleted = await save_rules(store, tenant, agent, *others)
        for rule in deleted:
            await store.delete_rule(tenant, rule.id)
        await save_rules(store, tenant, uuid4(), *others)
        await save_rules(store, uuid4(), agent, *others)
        (best, _), (second, _), *_ = await store.search_rules("tea milk", [1.0], tenant, agent)
        assert (best, second) == (rare, often)
        found = await store.search_rules("tea milk", [1.0], tenant, agent, enabled_only=False, limit=100)
        assert found[0][0] == often
        assert {rule.id for rule, _ in found[3:]} == {rule.id for rule in (rare, *disabled)}
        assert await store.search_rules("tea milk", [1.0], tenant, uuid4()) == []

    async def test_conditions_are_found_by_what_looks_like_a_part_of_them(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        rules = [make_rule(tenant, agent, condition_text=pair.text) for pair in PAIRS.values()]
        await store.save_rules(rules)
        for rule, pair in zip(rules, PAIRS.values(), strict=True):
            assert rule in [found for found, _ in await store.search_rules(pair.query, [1.0], tenant, agent)], pair

    async def test_a_changed_condition_is_found_by_its_new_words(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        (rule,) = await save_rules(store, tenant, agent, {"condition_text": "ÄPFEL"})
        search = store.search_rules
        for condition, query in (
            ("成语接龙", "接龙"),
            ("Plain text", "plain"),
            ("STRASSE", "straße"),
            ("Größe", "GRÖSSE"),
        ):
            rule.condition_text = condition
            await store.save_rule(rule, overwrite=condition.isascii())
            assert await search(query, [1.0], tenant, agent) == [(rule, 0.5)]
            assert await search("äpfel", [1.0], tenant, agent) == []
        rule.condition_text = "ÉTÉ"
        await store.save_rules([rule])
        assert await search("été", [1.0], tenant, agent) == [(rule, 0.5)]
        assert await store.delete_rule(tenant, rule.id)
        assert await search("été", [1.0], tenant, agent) == []
        assert await store.restore_rule(tenant, rule.id)
        restored = await store.get_rule(tenant, rule.id)
        assert await search("été", [1.0], tenant, agent) == [(restored, 0.5)]

    async def test_the_longest_conditions_are_searched(self, store: ConfigStore) -> None:
        tenant, agent = uuid4(), uuid4()
        letters = "".join(map(chr, range(0x4E00, 0x9E00)))
        long, plain = await save_rules(
            store,
            tenant,
            agent,
            {"condition_text": "成语接龙" + (letters * 20)[:349_000]},
            {"condition_text": "tea " * 262_144},
        )
        for query, only in (("语接", long), ("tea", plain)):
            assert [rule for rule, _ in await store.search_rules(query, [1.0], tenant, agent)] == [only]
