"""How well texts match a query: BM25 over terms that a text has or has not, with the statistics of one scope.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with the idf of Lucene, which
is never negative. One occurrence counts like many, so a score needs no positions; the length of a text is the number of
its distinct words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from convostore.domain.scoring import SCORE_DECIMALS
from convostore.domain.text.query import Document, Query, Term

K1 = 0.9
B = 0.4
"""The parameters of Anserini (Yang, Fang and Lin, SIGIR 2017)."""


class Comparable(Protocol):
    """A key that orders what ties."""

    def __lt__(self, other: Any, /) -> bool: ...


K = TypeVar("K", bound=Comparable)


class Statistics(NamedTuple):
    """What the texts of a scope say about the terms of a query."""

    weights: Mapping[Term, float]
    """The inverse document frequency of each term."""
    known: float
    """What the terms that the scope has weigh together."""
    length: float
    """The average length of a text."""


class Ranked(NamedTuple, Generic[K]):
    """What matches a query."""

    found: list[tuple[K, float]]
    """Keys and scores, best first."""
    share: float
    """What the terms of the best weigh, of those that the scope has; 0 if nothing is found."""


def statistics(terms: Sequence[Term], scope: Iterable[Document]) -> Statistics:
    """Return the statistics of all texts of a scope, those that match nothing included."""
    number = lengths = 0
    frequencies = dict.fromkeys(terms, 0)
    for document in scope:
        number += 1
        lengths += len(document)
        for term in terms:
            frequencies[term] += term.matches(document)
    weights = {term: math.log(1 + (number - found + 0.5) / (found + 0.5)) for term, found in frequencies.items()}
    known = math.fsum(weights[term] for term, found in frequencies.items() if found)
    return Statistics(weights, known, lengths / number if number else 0.0)


def bm25(document: Document, of_scope: Statistics) -> float:
    """Return the score of a text, to six decimals; 0 if it has none of the terms."""
    weight = _weight(document, of_scope)
    if not weight:
        return 0.0
    return round(weight * (K1 + 1) / (1 + K1 * (1 - B + B * len(document) / of_scope.length)), SCORE_DECIMALS)


def ranked(query: Query, documents: Mapping[K, Document], scope: Iterable[Document]) -> Ranked[K]:
    """Return the documents of a scope that match a query with their scores, best first, then by key."""
    of_scope = statistics(query.terms, scope)
    found = [(key, bm25(document, of_scope)) for key, document in documents.items() if query.matches(document)]
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    best = _weight(documents[found[0][0]], of_scope) if found else 0.0
    return Ranked(found, best / of_scope.known if best else 0.0)


def _weight(document: Document, of_scope: Statistics) -> float:
    return math.fsum(weight for term, weight in of_scope.weights.items() if term.matches(document))
