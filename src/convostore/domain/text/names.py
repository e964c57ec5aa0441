"""How well a name is the one that somebody types: the same, then one with a word of it, then one with a beginning."""

from __future__ import annotations

from typing import NamedTuple

from convostore.domain.text.normaliser import folded, words
from convostore.domain.text.query import MAX_TERMS

_UNIT = 1_000_000
"""Scores are whole millionths, which every backend computes alike."""
WORD, SHARE = 500_000, 400_000
"""What a common word is worth, and the part of all words that both names have."""


class Name(NamedTuple):
    """A name as it looks, and its words, each once."""

    looks: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return what PostgreSQL compares: the name with tabs for spaces, and its words, a space behind each."""
        return " ".join([self.key, *self.words, ""])

    @property
    def asked(self) -> tuple[str, ...]:
        """The words that are looked for."""
        return self.words[:MAX_TERMS]

    @property
    def key(self) -> str:
        """The name as one word."""
        return self.looks.replace(" ", "\t")

    def score(self, name: Name) -> float:
        """Return how well a name matches this one: 1 if it is the same, 0 if it does not.

        With a word in common above .5 to .9, with no more than the beginning of one up to .2: the more of the words of
        either are in common, the higher. A beginning counts half of a word.
        """
        if name.looks == self.looks:
            return 1.0
        wanted, had = self.asked, name.words
        whole = sum(word in had for word in wanted)
        begun = sum(any(each.startswith(word) for each in had) for word in wanted)
        share = SHARE * (whole + begun) // (2 * max(len(wanted), len(had), 1))
        return (WORD * (whole > 0) + share) / _UNIT


def read_name(text: str) -> Name:
    """Return a name as it is compared; under the normaliser of text search, so that both find alike."""
    return Name(folded(text), tuple(dict.fromkeys(words(text))))
