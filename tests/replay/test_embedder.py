"""The hashing embedder is deterministic, returns unit vectors, and places texts with common words near each other."""

from __future__ import annotations

import math

import pytest

from convostore.replay import HashingEmbedder

TEXTS = ["where is my parcel", "Where is my parcel?", "", "?!", "🦉", "密码错误", "a " * 10_000]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("dimensions", [1, 2, 256])
def test_vectors_have_length_one(text: str, dimensions: int) -> None:
    vector = HashingEmbedder(dimensions).embed(text)
    assert len(vector) == dimensions
    assert math.isclose(math.hypot(*vector), 1.0)


def test_vectors_are_deterministic() -> None:
    vector = HashingEmbedder(8).embed("where is my parcel")
    assert [round(number, 3) for number in vector] == [0.0, -0.378, 0.378, -0.756, 0.0, 0.0, 0.0, 0.378]


def test_texts_with_common_words_are_nearer_than_others() -> None:
    embed = HashingEmbedder().embed
    asked = embed("Where is my parcel?")

    def score(text: str) -> float:
        return sum(map(float.__mul__, asked, embed(text)))

    assert score("where is MY parcel") == pytest.approx(1.0)
    assert score("is my parcel lost?") > 0.4 > score("please cancel the order") > -0.4
