"""PostgreSQL finds the words that the normaliser found, whatever the locale, and ranks as the reference does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from unicodedata import category

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convostore.domain.text import bm25, document, is_plain, parse_query, search_text, statistics
from convostore.domain.text.query import Match
from convostore.embedded import Embedded
from convostore.models.fields import LANGUAGES
from tests.postgres.databases import connected, dsn_of
from tests.unit.strategies import QUICK
from tests.unit.texts import ASCII_TEXTS, NASTY, PAIRS, SCRIPTS, STRANGERS, TEXTS, longest

pytestmark = pytest.mark.slow

_VECTORS = """
SELECT to_tsvector($2::text::regconfig, t.text)::text FROM unnest($1::text[]) WITH ORDINALITY AS t (text, n) ORDER BY n
"""
_DIFFERENT = """
SELECT t.n - 1 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (text, expected, n)
WHERE to_tsvector('simple', t.text) <> t.expected::tsvector
"""
_SCORES = """
WITH texts AS MATERIALIZED (
    SELECT t.n, to_tsvector('simple', t.text) AS words FROM unnest($1::text[]) WITH ORDINALITY AS t (text, n)
),
scope AS (SELECT count(*)::float8 AS episodes, avg(length(words))::float8 AS average FROM texts),
terms AS (
    SELECT term, ln(1 + (scope.episodes - found.df + 0.5) / (found.df + 0.5)) AS weight
    FROM scope, unnest($2::text[]) AS q (query), to_tsquery('simple', query) AS term,
        LATERAL (SELECT count(*)::float8 AS df FROM texts WHERE words @@ term) AS found
)
SELECT t.words @@ to_tsquery('simple', $3),
    coalesce((SELECT sum(weight) FROM terms WHERE t.words @@ term)
    * 1.9 / (1 + 0.9 * (0.6 + 0.4 * length(t.words) / nullif(scope.average, 0))), 0)
FROM texts AS t, scope ORDER BY t.n
"""


@pytest.fixture(scope="module", params=["C.UTF-8", "C"])
async def postgres(server: Embedded, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A connection to a database whose parser asks the C library what a letter is, or takes all for letters."""
    name = f"agreement_{request.param}".replace(".", "_").replace("-", "_").lower()
    async with connected(server.postgres_dsn) as admin:
        await admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE '{request.param}'"
        )
        # What is nothing but stop words is said in a notice.
        async with connected(dsn_of(server.postgres_dsn, database=name), client_min_messages="warning") as connection:
            yield connection
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def vectors(postgres: asyncpg.Connection, texts: list[str], language: str = "simple") -> list[str]:
    """Return the tsvectors of texts."""
    return [row[0] for row in await postgres.fetch(_VECTORS, texts, language)]


def prepared(text: str) -> tuple[str, str]:
    """Return what PostgreSQL is given for a text, and the tsvector that it should make of it."""
    words = (f"'{word}':{','.join(map(str, places))}" for word, places in document(text).items())
    return search_text(text), " ".join(words)


async def assert_agreement(postgres: asyncpg.Connection, texts: list[tuple[str, str]]) -> None:
    for (number,) in await postgres.fetch(_DIFFERENT, *map(list, zip(*texts, strict=True))):
        spelled, expected = texts[number]
        (found,) = await vectors(postgres, [spelled])
        pytest.fail(f"{spelled[:300]!a}: {found[:300]!a}, not {expected[:300]!a}")


async def test_words_of_every_text_are_the_same(postgres: asyncpg.Connection) -> None:
    pairs = [*PAIRS.values(), *STRANGERS.values()]
    texts = [*NASTY, *(pair.text for pair in pairs), *(pair.query for pair in pairs)]
    await assert_agreement(postgres, [*map(prepared, texts)])


@given(texts=st.lists(TEXTS, min_size=1, max_size=20))
async def test_words_of_any_texts_are_the_same(postgres: asyncpg.Connection, texts: list[str]) -> None:
    await assert_agreement(postgres, [*map(prepared, texts)])


@cache
def every_character() -> list[tuple[str, str]]:
    """Return texts with every character of Unicode alone, in a word and after a digit, and some that are unassigned."""
    chars = [
        char
        for code in range(0x01, 0x110000)
        if (kind := category(char := chr(code))) != "Cs" and (kind not in ("Cn", "Co") or not code % 997)
    ]
    assert len(chars) > 140_000
    return [
        prepared(" ".join(f"{char} x{char}y 1{char}" for char in chars[first : first + 2_000]))
        for first in range(0, len(chars), 2_000)
    ]


async def test_every_character_is_the_same(postgres: asyncpg.Connection) -> None:
    await assert_agreement(postgres, every_character())


@pytest.mark.parametrize("script", ["latin", "private use", "han", "khmer"])
async def test_the_longest_text_of_a_script_is_indexed(postgres: asyncpg.Connection, script: str) -> None:
    await assert_agreement(postgres, [prepared(longest(script))])


@pytest.mark.parametrize("script", SCRIPTS)
async def test_the_longest_text_of_every_script_fits_whatever_the_language(
    admin: asyncpg.Connection, script: str
) -> None:
    statement = "SELECT length(to_tsvector($2::text::regconfig, $1))"
    # The stems of Serbian are Latin.
    language = "serbian" if script == "cyrillic" else LANGUAGES[[*SCRIPTS].index(script) * 2]
    assert await admin.fetchval(statement, search_text(longest(script)), language) > 0


@given(texts=st.lists(ASCII_TEXTS.filter(is_plain), max_size=20))
async def test_plain_texts_are_found_by_the_same_words_as_they_are(
    postgres: asyncpg.Connection, texts: list[str]
) -> None:
    statement = (
        'SELECT array(SELECT lower(t COLLATE "C") FROM unnest($1::text[]) WITH ORDINALITY AS u (t, n) ORDER BY n)'
    )
    lower = await postgres.fetchval(statement, texts)
    assert await vectors(postgres, lower) == await vectors(postgres, [*map(search_text, texts)])


async def found_by(postgres: asyncpg.Connection, text: str, query: str, language: str = "simple") -> bool:
    found: bool = await postgres.fetchval(
        "SELECT to_tsvector($3::text::regconfig, $1) @@ to_tsquery($3::text::regconfig, $2)", text, query, language
    )
    return found


@pytest.mark.parametrize("match", ["any", "all"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
async def test_what_looks_like_a_part_of_a_text_finds_it(postgres: asyncpg.Connection, pair: Any, match: Match) -> None:
    assert await found_by(postgres, search_text(pair.text), str(parse_query(pair.query, match=match)), pair.language)
    other = f'"{pair.query}" or nothing'
    assert await found_by(postgres, search_text(pair.text), str(parse_query(other, match=match)), pair.language)


@pytest.mark.parametrize("pair", STRANGERS.values(), ids=STRANGERS)
async def test_what_looks_different_does_not(postgres: asyncpg.Connection, pair: Any) -> None:
    query = str(parse_query(pair.query, match="all"))
    assert not await found_by(postgres, search_text(pair.text), query, pair.language)


@pytest.mark.parametrize(
    "query",
    [
        "blue car -red",
        'blue "big car" or house -"old dog"',
        "-red",
        "the",
        '"a b" c',
        "foo & | ! (bar)",
        "a or b or c d",
        '-"big car"',
        "or",
        "or tea",
        "tea OR coffee",
    ],
)
async def test_operators_mean_what_they_mean_in_a_web_search(postgres: asyncpg.Connection, query: str) -> None:
    ours = await postgres.fetchval("SELECT to_tsquery('simple', $1)::text", str(parse_query(query, match="all")))
    assert ours == await postgres.fetchval("SELECT websearch_to_tsquery('simple', $1)::text", query)


@settings(deadline=None)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=30),
    query=TEXTS,
    match=st.sampled_from(["any", "all"]),
    prefix=st.booleans(),
    cut=st.tuples(st.integers(0, 30), st.integers(1, 12)) | st.none(),
)
async def test_matches_and_scores_are_the_same(
    postgres: asyncpg.Connection,
    texts: list[str],
    query: str,
    match: Match,
    prefix: bool,
    cut: tuple[int, int] | None,
) -> None:
    if cut is not None:  # Something that is in one of the texts.
        query = f"{query} or {texts[0][cut[0] : sum(cut)]}"
    parsed = parse_query(query, match=match, prefix=prefix)
    documents = [*map(document, texts)]
    of_scope = statistics(parsed.terms, documents)
    spelled = [*map(search_text, texts)]
    rows = await postgres.fetch(_SCORES, spelled, [*map(str, parsed.terms)], str(parsed))
    assert [row[0] for row in rows] == [*map(parsed.matches, documents)]
    assert [row[1] for row in rows] == pytest.approx([bm25(each, of_scope) for each in documents], abs=1e-6)


async def test_phrases_beyond_the_positions_of_a_tsvector_are_the_same(postgres: asyncpg.Connection) -> None:
    texts = ["天" * 20 + longest("han"), "often so " * 300 + "often late", "a b " * 10_000, "成语" * 10_000 + "接龙"]
    queries = [texts[0][place : place + 3] for place in (0, 19, 16_300, 16_400, 90_000)]
    queries += ['"often late"', '"so often"', '"b a b"', '"a a"', "语接", "接龙", "成语成"]
    parsed = [parse_query(query, match="all") for query in queries]
    statement = (
        "SELECT words @@ to_tsquery('simple', q) FROM to_tsvector('simple', $1) AS words, unnest($2::text[]) AS q"
    )
    for text in texts:
        rows = await postgres.fetch(statement, search_text(text), [*map(str, parsed)])
        words = document(text)
        assert [row[0] for row in rows] == [query.matches(words) for query in parsed], text[:20]


@QUICK
@given(query=TEXTS, match=st.sampled_from(["any", "all"]), language=st.sampled_from(LANGUAGES))
async def test_no_query_is_an_error_in_any_language(
    postgres: asyncpg.Connection, query: str, match: Match, language: str
) -> None:
    parsed = parse_query(query, match=match)
    for part in (str(parsed), *map(str, parsed.terms)):
        assert await found_by(postgres, "tea", part, language) in (True, False)


async def test_stop_words_are_still_stop_words(postgres: asyncpg.Connection) -> None:
    files = await postgres.fetch(
        "SELECT replace(file, '.stop', ''), pg_read_file(folder || '/' || file) FROM pg_config, "
        "LATERAL (SELECT setting || '/tsearch_data') AS f (folder), pg_ls_dir(folder) AS file "
        "WHERE name = 'SHAREDIR' AND file LIKE '%.stop'"
    )
    assert len(files) > 10
    changed = set()
    for language, text in files:
        stopped = text.split()
        changed |= {
            word
            for word, before, after in zip(
                stopped,
                await vectors(postgres, stopped, language),
                await vectors(postgres, [*map(search_text, stopped)], language),
                strict=True,
            )
            if before != after
        }
    # Case folding writes dass; ı is spelled i.
    assert changed == {"daß", "aslında", "bazı", "mı", "nasıl"}


@pytest.mark.parametrize(
    ("language", "inflected"),
    [
        ("arabic", "كِتَاب كتاب الكتاب"),
        ("english", "running RUNS run"),
        ("finnish", "talo talossa TALOT"),
        ("french", "remboursé remboursée REMBOURSEMENTS"),
        ("german", "Häuser HÄUSERN Haus"),
        ("german", "Straße STRASSEN straßen"),
        ("greek", "άνθρωπος ΑΝΘΡΩΠΟΣ ανθρώπου"),
        ("hindi", "लड़का लड़के लड़कों"),
        ("hungarian", "ház HÁZAK házban"),
        ("nepali", "घर घरहरू घरमा"),
        ("russian", "возврат ВОЗВРАТА возвраты"),
        ("serbian", "књига КЊИГЕ knjiga"),
        ("spanish", "devolución DEVOLUCIONES devoluciones"),
        ("tamil", "வீடு வீடுகள் வீட்டில்"),
        ("turkish", "sipariş SİPARİŞLER siparişi"),
        ("turkish", "satış SATIŞLAR satıştan"),
        ("yiddish", "שפּראַך שפּראַכן שפראך"),
    ],
)
async def test_inflected_words_keep_their_stem(postgres: asyncpg.Connection, language: str, inflected: str) -> None:
    (found,) = await vectors(postgres, [search_text(inflected)], language)
    assert found.endswith(":1,2,3")
