"""The one normaliser of text search: the words of a text, spelled so that PostgreSQL's parser finds the same words.

Text is compared as it looks: Unicode normalised (NFKC), case-folded, without what is invisible. Runs of scripts without
spaces become overlapping bigrams, symbols a word of their own, and all else that is no letter, mark or digit a space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import add
from typing import TypeAlias
from unicodedata import normalize

from convostore.domain.text.characters import (
    JOINED,
    RUN,
    SEEN,
    SOFT_BREAK,
    UNIT,
    WORDS,
    ZERO_WIDTH_SPACE,
    Spelling,
)

Part: TypeAlias = str | tuple[str, ...]
"""Part of a phrase: a word, or the letters of a run without spaces."""

MAX_TEXT = 250_000
"""How many characters of a text are indexed."""
MAX_WORD = 400
"""How many characters of a word count: PostgreSQL leaves out words of 2 KiB."""
MAX_BYTES = 1_000_000
"""How many bytes of a tsvector a text may take. It holds 1 MiB: the rest is for scopes and longer stems."""
MAX_POSITION = (1 << 14) - 1
"""The position of all words of a tsvector from this on."""
MAX_POSITIONS = 255
"""How many positions of one word a tsvector holds."""

DOT_ABOVE = "\u0307"
_MARKED_I = re.compile(r"i[^\w\s]+")

_APART = re.compile("[™℠]|[¼-¾⅐-⅞↉]")
"""What NFKC would glue to the word before: `Acme™` is no `acmetm`, and 1½ no 11/2."""
# PostgreSQL reads digits, e, digits as a number whatever follows. A mark belongs to the letter before it.
_ASCII_WORD = re.compile("[0-9]+e[0-9]+|[a-z0-9]+")
_REGULAR_WORD = re.compile(r"[0-9]+e[0-9]+|[^\W_]+")
_WORD = re.compile(r"[0-9]+e[0-9]+|(?:[0-9]+|[^\W0-9][^\s0-9]*)+")
_IRREGULAR = re.compile(r"[0-9]e[0-9]|[0-9 ][^\w ]")
"""What `_WORD` reads otherwise than words between spaces."""
_NOT_REGULAR = re.compile(
    "[^\x00-\x7f–—‘’“”„…"  # signs that separate
    "À-ÖØ-öø-įĴ-ľŁ-ňŊ-žƠơƯưȘ-țẠ-ỹ"  # Latin
    "Ά-ΊΌΎΏΑ-ΡΣ-ία-ώ"  # Greek
    "Ѐ-ҁҊ-ҿӁ-ӎӐ-ӵӸӹ]"  # Cyrillic
)
"""What is more than letters that case folding alone makes words of, digits and separators."""
_NOT_PLAIN = re.compile(rf"""[^A-Za-z0-9\s.:,;!?"'()]|[.:](?!\s|\Z)|[A-Za-z0-9]{{{MAX_WORD + 1}}}""")


def folded(text: str) -> str:
    """Return a text as it looks: two texts that look the same are equal then."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(_folded(text, SEEN).split())


def words(text: str) -> list[str]:
    """Return the words that a text is found by, in their order."""
    text = text[:MAX_TEXT]
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
    elif not _NOT_REGULAR.search(text):
        found = _REGULAR_WORD.findall(text.casefold())
    else:
        spelled = f" {_rare_escaped(RUN.sub(_with_bigrams, _folded(text, WORDS)), WORDS)}"
        found = _WORD.findall(spelled) if _IRREGULAR.search(spelled) else spelled.split()
    return _shortened(found)


def phrases(text: str, *, joined: bool) -> list[list[Part]]:
    """Return the phrases of a text by their parts. Everything is one phrase, or if `joined` only what joiners join."""
    spelling = JOINED if joined else WORDS
    spelled = _folded(text, spelling)
    pieces = spelled.split() if joined else [spelled]
    return [found for piece in pieces if (found := _parts(piece.replace("-", " "), spelling))]


def search_text(text: str) -> str:
    """Return what PostgreSQL's text search is given instead of a text, under every configuration."""
    found = words(text)
    if sum(map(len, found)) * 4 + len(found) * 5 > MAX_BYTES:  # all of them may be different, of four bytes a letter
        found = found[: _tsvector(found)[1]]
    return " ".join(found)


def is_plain(text: str) -> bool:
    """Return whether PostgreSQL finds the same words in a text as it is, once ASCII letters are lower case."""
    return len(text) <= MAX_TEXT and text.isascii() and not _NOT_PLAIN.search(text)


def bigrams(letters: Sequence[str]) -> list[str]:
    return [*map(add, letters, letters[1:])]


def document(text: str) -> dict[str, list[int]]:
    """Return the words of a text with their positions, as a tsvector of the configuration `simple` has them."""
    return _tsvector(words(text))[0]


def _tsvector(found: list[str]) -> tuple[dict[str, list[int]], int]:
    """Return words with their positions, and how many of the words a tsvector has room for."""
    document: dict[str, list[int]] = {}
    size = 0
    for number, word in enumerate(found, start=1):
        positions, position = document.get(word, ()), min(number, MAX_POSITION)
        if positions and (len(positions) == MAX_POSITIONS or positions[-1] == position):
            continue
        if not positions:
            length = len(word.encode())
            size += length + length % 2 + 2
        size += 2
        if size > MAX_BYTES:
            return document, number - 1
        document.setdefault(word, []).append(position)
    return document, len(found)


def _folded(text: str, spelling: Spelling) -> str:
    # NFKC makes up to 18 characters of one.
    text = normalize("NFKC", _APART.sub(_apart, text))[:MAX_TEXT].casefold()
    if ZERO_WIDTH_SPACE in text:
        text = SOFT_BREAK.sub("", text)
    # Marks that something invisible kept from their letter are composed now.
    text = text.translate(spelling)
    if DOT_ABOVE in text:
        # A capital I with a dot is folded to an i with another dot, which other marks may come before.
        text = _MARKED_I.sub(lambda match: match[0].replace(DOT_ABOVE, ""), text)
    return normalize("NFKC", text)


def _apart(match: re.Match[str]) -> str:
    return " " if match[0] in "™℠" else f" {match[0]} "


def _with_bigrams(match: re.Match[str]) -> str:
    letters = _letters(match[0])
    # The last letter stands alone, so that one letter is found as the beginning of a word wherever it stands.
    return f" {' '.join(bigrams(letters))} {letters[-1]} " if letters else " "


def _letters(run: str) -> Sequence[str]:
    """Return the letters of a run, each with its marks."""
    return run if run.isalnum() else UNIT.findall(run)


def _parts(text: str, spelling: Spelling) -> list[Part]:
    found: list[Part] = []
    end = 0
    for run in RUN.finditer(text):
        found += _shortened(_WORD.findall(text, end, run.start()))
        if letters := tuple(_rare_escaped(letter, spelling) for letter in _letters(run[0])):
            found.append(letters)
        end = run.end()
    return [*found, *_shortened(_WORD.findall(text, end))]


def _rare_escaped(text: str, spelling: Spelling) -> str:
    if not spelling.rare or spelling.rare.keys().isdisjoint(text):
        return text
    return "".join([spelling.rare.get(char, char) for char in text])


def _shortened(found: list[str]) -> list[str]:
    return [word[:MAX_WORD] for word in found] if max(map(len, found), default=0) > MAX_WORD else found
