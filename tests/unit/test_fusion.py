"""How words and meaning make one score, and what changes the order afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from convostore.domain.fusion import (
    CONTEXT_SHARE,
    ENOUGH,
    Parts,
    diversified,
    fused,
    neighbours_in,
    with_context,
    with_recency,
)
from convostore.testing.factories import at

SCORES = st.dictionaries(st.integers(0, 9), st.floats(0.001, 20), max_size=8)
COSINES = st.dictionaries(st.integers(0, 9), st.floats(-1, 1), max_size=8)


def ranking(scores: dict[int, float]) -> list[tuple[int, float]]:
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def test_squares_of_both_searches_are_weighted_by_how_sure_each_is() -> None:
    by_text = [("words", 8.0), ("both", 2.0)]
    by_vector = [("meaning", 0.75), ("both", 0.5)]
    parts = fused(by_text, by_vector, {"meaning": 0.75, "both": 0.5, "words": -0.25}, share=1.0)
    assert parts == {
        "words": Parts(text_score=8.0, text_rank=1, vector_score=-0.25, text_part=0.5),
        "both": Parts(2.0, 2, 0.5, 2, text_part=0.03125, vector_part=0.5 * 0.75 * 0.75**2),
        "meaning": Parts(vector_score=0.75, vector_rank=1, vector_part=0.375),
    }
    assert [found.score for found in parts.values()] == [0.5, 0.242188, 0.375]


def test_only_the_ratio_of_the_weights_counts() -> None:
    by_text, by_vector, similarities = [("a", 2.0), ("b", 1.0)], [("b", 1.0)], {"a": 0.3, "b": 1.0}
    parts = fused(by_text, by_vector, similarities, (3.0, 1.0), share=1.0)
    assert parts == fused(by_text, by_vector, similarities, (0.75, 0.25), share=1.0)
    assert [found.score for found in parts.values()] == [0.75, 0.4375]
    assert fused(by_text, by_vector, similarities, (1.0, 0.0), share=1.0)["b"].vector_part == 0.0


def test_a_search_whose_best_is_poor_counts_for_less() -> None:
    found = [("words", 2.0)], [("meaning", 0.25), ("other", 0.0)], {"words": 0.0}
    for share, part in ((1.0, 0.5), (ENOUGH, 0.5), (ENOUGH / 2, 0.125), (0.0, 0.0)):
        assert {key: parts.score for key, parts in fused(*found, share=share).items()} == {
            "words": part,
            "meaning": 0.125,
            "other": 0.0,
        }


def test_equal_similarities_are_the_highest() -> None:
    parts = fused([], [("a", 0.25), ("b", 0.25)], {}, share=0.0)
    assert [found.score for found in parts.values()] == [0.125, 0.125]


def test_what_points_away_has_nothing() -> None:
    assert [found.score for found in fused([], [("a", -0.2), ("b", -0.5)], {}, share=0.0).values()] == [0.0, 0.0]
    assert fused([], [], {}, share=0.0) == {}


def test_no_embedding_is_no_similarity() -> None:
    parts = fused([("plain", 2.0), ("near", 1.0)], [("near", 1.0), ("far", 0.2)], {}, share=1.0)
    assert parts["plain"].vector_score is None
    assert [parts[key].vector_part for key in ("plain", "near", "far")] == [0.0, 0.5, 0.0]


@given(text=SCORES, vector=COSINES, similarities=COSINES, weight=st.floats(0, 1), share=st.floats(0, 1))
def test_fused_scores_lie_between_zero_and_one_and_respect_both_orders(
    text: dict[int, float], vector: dict[int, float], similarities: dict[int, float], weight: float, share: float
) -> None:
    parts = fused(ranking(text), ranking(vector), {**similarities, **vector}, (weight, 1 - weight), share=share)
    assert parts.keys() == text.keys() | vector.keys()
    assert all(0 <= found.score <= 1 for found in parts.values())
    for one in parts.values():
        for other in parts.values():
            if (one.text_score or 0.0) > (other.text_score or 0.0):
                assert one.text_part >= other.text_part
            if one.vector_score is not None and other.vector_score is not None:
                assert (one.vector_score <= other.vector_score) or one.vector_part >= other.vector_part


def test_scores_halve_with_every_half_life() -> None:
    parts = dict.fromkeys(["new", "old", "older", "to come"], Parts(text_part=0.5, vector_part=0.25))
    ages = {"new": at(10), "old": at(5), "older": at(0), "to come": at(99)}
    found = with_recency(parts, ages, at(10), at(5) - at(0))
    assert {key: each.recency for key, each in found.items()} == {"new": 1, "old": 0.5, "older": 0.25, "to come": 1}
    assert {key: each.score for key, each in found.items()} == {
        "new": 0.75,
        "old": 0.375,
        "older": 0.1875,
        "to come": 0.75,
    }
    very_old = with_recency({"a": Parts(text_part=1.0)}, {"a": at(0)}, at(0) + timedelta(36_500), timedelta(seconds=1))
    assert very_old["a"].score == 0.0


def test_neighbours_lend_part_of_their_score() -> None:
    parts = {"question": Parts(text_part=0.5, vector_part=0.3, recency=0.5), "other": Parts(vector_part=0.2)}
    found = with_context(parts, {"question": [("answer", 1), ("other", 2)], "other": [("question", 2)]})
    assert found == {
        "question": replace(parts["question"], context_part=0.2 * CONTEXT_SHARE**2),
        "other": replace(parts["other"], context_part=0.4 * CONTEXT_SHARE**2),
        "answer": Parts(context_part=0.4 * CONTEXT_SHARE),
    }
    assert found["answer"].score == 0.12
    assert with_context(parts, {}) == parts


def test_neighbours_stand_around_a_turn_in_its_session() -> None:
    assert neighbours_in([["a", "b", "c", "d"], ["alone"], []], 2) == {
        "a": [("b", 1), ("c", 2)],
        "b": [("a", 1), ("c", 1), ("d", 2)],
        "c": [("a", 2), ("b", 1), ("d", 1)],
        "d": [("b", 2), ("c", 1)],
        "alone": [],
    }


def alike(one: str, other: str) -> float:
    """Return 1 for names that begin with the same letter."""
    return float(one[0] == other[0])


def test_diversity_puts_the_unlike_first() -> None:
    scores = [("a1", 0.9), ("a2", 0.89), ("a3", 0.8), ("b1", 0.5), ("c1", 0.1)]
    assert diversified(scores, alike, 0.0, 5) == scores
    assert [key for key, _ in diversified(scores, alike, 0.5, 5)] == ["a1", "b1", "c1", "a2", "a3"]
    assert [key for key, _ in diversified(scores, alike, 0.1, 5)] == ["a1", "a2", "a3", "b1", "c1"]
    assert [key for key, _ in diversified(scores, alike, 1.0, 3)] == ["a1", "b1", "c1"]


def test_diversity_changes_no_score_and_depends_on_no_scale() -> None:
    scores = [("a1", 0.9), ("a2", 0.89), ("b1", 0.5), ("c1", 0.1)]
    found = diversified(scores, alike, 0.4, 3)
    assert len(found) == 3
    assert {*found} < {*scores}
    scaled = diversified([(key, 1_000 * score - 500) for key, score in scores], alike, 0.4, 3)
    assert [key for key, _ in scaled] == [key for key, _ in found]


def test_likeness_may_be_negative_and_ties_keep_their_order() -> None:
    scores = [("first", 1.0), ("same", 0.5), ("equal", 0.5), ("opposite", 0.5)]
    found = diversified(scores, lambda one, other: -1.0 if "opposite" in (one, other) else 0.0, 0.5, 4)
    assert [key for key, _ in found] == ["first", "opposite", "same", "equal"]
    assert diversified([], alike, 0.5, 3) == []


@given(scores=SCORES, diversity=st.floats(0, 1), most=st.integers(1, 10))
def test_what_is_wanted_is_returned_once_and_the_best_first(
    scores: dict[int, float], diversity: float, most: int
) -> None:
    best = ranking(scores)
    found = diversified(best, lambda one, other: float(one % 2 == other % 2), diversity, most)
    assert len(dict(found)) == len(found) == min(most, len(scores))
    assert found[:1] == best[:1]
