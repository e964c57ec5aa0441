"""A stand-in for an embedding model: it needs no weights, gives the same vector everywhere, and knows no meaning."""

from __future__ import annotations

import math
import re
from hashlib import blake2b
from itertools import pairwise

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Texts to unit vectors by feature hashing of words and of pairs of neighbouring words, each with a random sign.

    Texts that share words are near each other; synonyms are not. Weinberger et al., "Feature Hashing for Large Scale
    Multitask Learning", ICML 2009.

    Args:
        dimensions: the length of the vectors.
    """

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions = dimensions
        self.model = f"hashing-{dimensions}"
        """The name under which the vectors are stored, so that they are only compared with each other."""

    def embed(self, text: str) -> list[float]:
        """Return the text's vector, of length 1; a text without words has one of its own."""
        words = _WORD.findall(text.casefold())
        vector = [0.0] * self.dimensions
        for feature in (*words, *map(" ".join, pairwise(words))) or (text,):
            digest = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
            vector[(digest >> 1) % self.dimensions] += 1.0 if digest & 1 else -1.0
        length = math.hypot(*vector)
        if length == 0:  # every feature met its opposite
            vector[0] = length = 1.0
        return [number / length for number in vector]
