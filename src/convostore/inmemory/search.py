"""Vector and text search over lists, for the reference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeVar
from uuid import UUID

from convostore.domain import scoring
from convostore.gateway.memory import RANK_CONSTANT
from convostore.inmemory.table import copied
from convostore.models import Entity, Episode, Rule

T = TypeVar("T", Rule, Episode, Entity)


def nearest(query: list[float], items: Iterable[T], min_score: float) -> list[tuple[T, float]]:
    """Return copies of the items whose embedding has the query's dimension, with their scores, best first."""
    return [(copied(item), score) for item, score in scoring.nearest(query, items, min_score)]


_ITEMS = re.compile(r'(-?)"([^"]*)"?|(-?)(\S+)')
_WORDS = re.compile(r"[^\W_]+")


class Phrase(NamedTuple):
    """Words that stand next to each other in a query; the last may be `open`: the beginning of a word."""

    excluded: bool
    words: list[str]
    open: bool = False

    def occurrences(self, words: list[str]) -> int:
        """Return how often the phrase stands in a text."""
        size, last = len(self.words), self.words[-1]
        return sum(
            words[end - size : end - 1] == self.words[:-1]
            and (words[end - 1].startswith(last) if self.open else words[end - 1] == last)
            for end in range(size, len(words) + 1)
        )


def matching_text(query: str, episodes: Iterable[Episode], *, prefix: bool = False) -> list[Episode]:
    """Return the episodes that match a web search query, those with most occurrences first, then by id."""
    alternatives = _parsed(query)
    if prefix and alternatives and not alternatives[-1][-1].excluded:
        alternatives[-1][-1] = alternatives[-1][-1]._replace(open=True)
    found = []
    for episode in episodes:
        words = _words(episode.content)
        if any(all(phrase.excluded != bool(phrase.occurrences(words)) for phrase in group) for group in alternatives):
            rank = sum(phrase.occurrences(words) for group in alternatives for phrase in group if not phrase.excluded)
            found.append((-rank, episode.id, episode))
    return [copied(episode) for _, _, episode in sorted(found, key=lambda item: item[:2])]


def fused(*rankings: list[UUID]) -> list[tuple[UUID, float]]:
    """Return the ids of ranked lists with the sums of their reciprocal ranks, best first, then by id."""
    scores: dict[UUID, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def _parsed(query: str) -> list[list[Phrase]]:
    """Return the query as alternatives of phrases, as PostgreSQL's websearch_to_tsquery reads it."""
    alternatives: list[list[Phrase]] = [[]]
    for match in _ITEMS.finditer(query):
        minus, quoted, bare_minus, bare = match.groups()
        if bare is not None and not bare_minus and bare.lower() == "or" and alternatives[-1]:
            alternatives.append([])
        elif words := _words(quoted if bare is None else bare):
            alternatives[-1].append(Phrase(bool(minus or bare_minus), words))
    return [group for group in alternatives if group]


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())
