"""Vector and text search over lists, for the reference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from convostore.core.scoring import cosine
from convostore.inmemory.table import copied
from convostore.models import Episode, Rule

T = TypeVar("T", Rule, Episode)


def nearest(query: list[float], items: Iterable[T], min_score: float) -> list[tuple[T, float]]:
    """Return the items whose embedding has the query's dimension, with their scores, best first, then by id."""
    scored = [
        (item, cosine(query, item.embedding))
        for item in items
        if item.embedding is not None and len(item.embedding) == len(query)
    ]
    scored = [(item, score) for item, score in scored if score >= min_score]
    scored.sort(key=lambda pair: (-pair[1], pair[0].id))
    return [(copied(item), score) for item, score in scored]


_ITEMS = re.compile(r'(-?)"([^"]*)"?|(-?)(\S+)')
_WORDS = re.compile(r"[^\W_]+")

Phrase = tuple[bool, list[str]]
"""Whether it is excluded, and its words."""


def matching_text(query: str, episodes: Iterable[Episode]) -> list[Episode]:
    """Return the episodes that match a web search query, those with most occurrences first, then by id."""
    alternatives = _parsed(query)
    found = []
    for episode in episodes:
        words = _words(episode.content)
        if any(
            all(_occurrences(words, phrase) == 0 if out else _occurrences(words, phrase) for out, phrase in group)
            for group in alternatives
        ):
            rank = sum(_occurrences(words, phrase) for group in alternatives for out, phrase in group if not out)
            found.append((-rank, episode.id, episode))
    return [copied(episode) for _, _, episode in sorted(found, key=lambda item: item[:2])]


def _parsed(query: str) -> list[list[Phrase]]:
    """Return the query as alternatives of phrases, as PostgreSQL's websearch_to_tsquery reads it."""
    alternatives: list[list[Phrase]] = [[]]
    for match in _ITEMS.finditer(query):
        minus, quoted, bare_minus, bare = match.groups()
        if bare is not None and not bare_minus and bare.lower() == "or" and alternatives[-1]:
            alternatives.append([])
        elif words := _words(quoted if bare is None else bare):
            alternatives[-1].append((bool(minus or bare_minus), words))
    return [group for group in alternatives if group]


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def _occurrences(words: list[str], phrase: list[str]) -> int:
    return sum(words[at : at + len(phrase)] == phrase for at in range(len(words) - len(phrase) + 1))
