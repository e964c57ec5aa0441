"""What a text query asks for: words, "phrases", `or`, -excluded words, and a last word that may be incomplete.

One parser for all backends. PostgreSQL is given terms in the syntax of `to_tsquery`, because `websearch_to_tsquery` has
no beginnings of words, and one letter of a script without spaces is the beginning of a bigram.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

from convostore.domain.text.normaliser import Part, bigrams, folded, phrases

Match: TypeAlias = Literal["any", "all"]
Document: TypeAlias = Mapping[str, Sequence[int]]
"""The words of a text with their positions."""

MAX_QUERY = 10_000
"""How many characters of a query count."""
MAX_TERMS = 64
"""How many terms of a query score, and under `any` match."""

_TOKEN = re.compile(r'(-*)"([^"]*)"?|(-*)([^\s"]+)')
_COMMA = re.compile("(?<=[0-9]),(?=[0-9])")


class Term(NamedTuple):
    """Words that follow one another; the last may be `open`: the beginning of a word."""

    words: tuple[str, ...]
    open: bool = False

    def matches(self, document: Document) -> bool:
        *before, last = self.words
        if not before:
            return any(word.startswith(last) for word in document) if self.open else last in document
        ends = {*document.get(before[0], ())}
        for word in before[1:]:
            ends = {end + 1 for end in ends}.intersection(document.get(word, ()))
        return bool(ends) and not {end + 1 for end in ends}.isdisjoint(self._last(document))

    def _last(self, document: Document) -> Iterable[int]:
        last = self.words[-1]
        if not self.open:
            return document.get(last, ())
        return (place for word, places in document.items() if word.startswith(last) for place in places)

    def __str__(self) -> str:
        """Return the term for `to_tsquery`."""
        return " <-> ".join(self.words) + (":*" if self.open else "")


class Alternative(NamedTuple):
    """Terms one or all of which a text must have, and terms that it must not have."""

    wanted: tuple[Term, ...]
    excluded: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Alternatives, of which a text must match one."""

    match: Match
    alternatives: tuple[Alternative, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms that score, each once."""
        return tuple(dict.fromkeys(term for each in self.alternatives for term in each.wanted))[:MAX_TERMS]

    def matches(self, document: Document) -> bool:
        some = any if self.match == "any" else all
        return any(
            some(term.matches(document) for term in each.wanted)
            and not any(term.matches(document) for term in each.excluded)
            for each in self.alternatives
        )

    def __str__(self) -> str:
        """Return the query for `to_tsquery`, empty if it can match nothing."""
        return " | ".join(map(self._tsquery, self.alternatives))

    def _tsquery(self, alternative: Alternative) -> str:
        wanted = (" | " if self.match == "any" else " & ").join(map(str, alternative.wanted))
        excluded = " & ".join(f"!({term})" for term in alternative.excluded)
        if not excluded or not wanted:
            return wanted or excluded
        return f"({wanted}) & {excluded}"


class _Token(NamedTuple):
    excluded: bool
    quoted: bool
    is_or: bool
    phrases: list[list[Part]]


def parse_query(query: str, *, match: Match = "any", prefix: bool = False) -> Query:
    """Return what a query asks for; with `prefix` its last word may be incomplete, unless it is excluded.

    `or` stands between two operands, else it is a word. Under `any` a query of nothing but exclusions finds nothing.
    """
    tokens = [*_tokens(query[:MAX_QUERY])]
    groups: list[tuple[list[Term], list[Term]]] = [([], [])]
    for number, token in enumerate(tokens, start=1):
        wanted, excluded = groups[-1]
        last = number == len(tokens)
        if token.is_or and (wanted or excluded) and not last:
            groups.append(([], []))
        elif token.excluded:
            excluded += _terms(token, "all", prefix=False)
        else:
            wanted += _terms(token, match, prefix=prefix and last)
    return Query(match, tuple(_alternatives(match, groups)))


def _alternatives(match: Match, groups: list[tuple[list[Term], list[Term]]]) -> Iterator[Alternative]:
    counted = {*islice(dict.fromkeys(chain.from_iterable(wanted for wanted, _ in groups)), MAX_TERMS)}
    for wanted, excluded in groups:
        terms = tuple(term for term in dict.fromkeys(wanted) if match == "all" or term in counted)
        if terms or (match == "all" and excluded):
            yield Alternative(terms, tuple(dict.fromkeys(excluded)))


def _tokens(query: str) -> Iterator[_Token]:
    for dashes, quoted, more_dashes, bare in _TOKEN.findall(folded(query)):
        excluded = bool(dashes or more_dashes)
        if bare and not excluded:
            found = phrases(_COMMA.sub(".", bare), joined=True)
        else:
            found = phrases(bare or quoted, joined=False)
        if found:
            yield _Token(excluded, not bare, bare == "or" and not excluded, found)


def _terms(token: _Token, match: Match, *, prefix: bool) -> Iterator[Term]:
    for number, phrase in enumerate(token.phrases, start=1):
        incomplete = prefix and number == len(token.phrases)
        if token.quoted or match == "all" or all(isinstance(part, str) for part in phrase):
            yield _phrase(phrase, incomplete)
        else:
            yield from _pieces(phrase, incomplete)


def _pieces(phrase: list[Part], prefix: bool) -> Iterator[Term]:
    """Return the words and bigrams of a phrase as terms of their own."""
    for number, part in enumerate(phrase, start=1):
        if isinstance(part, str):
            yield Term((part,), prefix and number == len(phrase))
        elif len(part) == 1:
            yield Term(part, open=True)
        else:
            yield from (Term((bigram,)) for bigram in bigrams(part))


def _phrase(phrase: list[Part], prefix: bool) -> Term:
    """Return a phrase as one term, which may begin and end inside runs without spaces."""
    found: list[str] = []
    for part in phrase[:-1]:
        found += [part] if isinstance(part, str) else [*bigrams(part), part[-1]]
    last = phrase[-1]
    if isinstance(last, str):
        return Term((*found, last), prefix)
    return Term((*found, *(bigrams(last) or last)), open=len(last) == 1)
