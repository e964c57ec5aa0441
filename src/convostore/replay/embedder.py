"""A stand-in for an embedding model: deterministic, without weights, and without semantics."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from itertools import pairwise

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Maps texts to unit vectors by signed feature hashing of words and bigrams.

    Texts that share words are near each other; synonyms are not. Weinberger et al., "Feature Hashing for Large Scale
    Multitask Learning", ICML 2009.

    Args:
        dimensions: the length of the vectors.
    """

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions = dimensions
        self.model = f"hashing-{dimensions}"
        """The stored name of the model: vectors are compared only within a model."""

    def embed(self, text: str) -> list[float]:
        """Return the unit vector of a text; a text without words is one feature."""
        words = _WORD.findall(text.casefold())
        vector = [0.0] * self.dimensions
        for feature in (*words, *map(" ".join, pairwise(words))) or (text,):
            digest = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
            vector[(digest >> 1) % self.dimensions] += 1.0 if digest & 1 else -1.0
        length = math.hypot(*vector)
        if length == 0:  # all features cancelled out
            vector[0] = length = 1.0
        return [number / length for number in vector]
