"""What a text query asks for, which texts match it, and how well."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convostore.domain.text import Term, bm25, document, parse_query, ranked, statistics
from convostore.domain.text.query import MAX_TERMS, Match
from tests.unit.texts import NASTY, TEXTS


@pytest.mark.parametrize(
    ("query", "some", "every"),
    [
        ("blue car -red", "(blue | car) & !(red)", "(blue & car) & !(red)"),
        (
            'blue "big car" or house -"old dog"',
            "blue | big <-> car | (house) & !(old <-> dog)",
            "blue & big <-> car | (house) & !(old <-> dog)",
        ),
        ("well-known bug", "well <-> known | bug", "well <-> known & bug"),
        ("-red", "", "!(red)"),
        (
            "it's a d'or http://x.y/a&b?c=(1)",
            "it | s | a | d | or | http <-> x <-> y <-> a <-> b | c | 1",
            "it & s & a & d & or & http <-> x <-> y <-> a <-> b & c & 1",
        ),
        ("the", "the", "the"),
        ('"a b" c', "a <-> b | c", "a <-> b & c"),
        ("foo & | ! (bar)", "foo | bar", "foo & bar"),
        ("a or b or c d", "a | b | c | d", "a | b | c & d"),
        ('-"big car"', "", "!(big <-> car)"),
        # Beyond the ten.
        ("or", "or", "or"),
        ("or or or", "or | or", "or | or"),
        ("or tea or", "or | tea", "or & tea"),
        ("tea OR coffee", "tea | coffee", "tea | coffee"),
        ("tea -or milk", "(tea | milk) & !(or)", "(tea & milk) & !(or)"),
        ("tea or -red", "tea", "tea | !(red)"),
        ("Paris - Lyon", "paris | lyon", "paris & lyon"),
        ("--5 5-3", "(5 <-> 3) & !(5)", "(5 <-> 3) & !(5)"),
        ("-well-known -don't x", "(x) & !(well <-> known) & !(don <-> t)", "(x) & !(well <-> known) & !(don <-> t)"),
        ("hello,where 1,234.50", "hello | where | 1 <-> 234 <-> 50", "hello & where & 1 <-> 234 <-> 50"),
        ("“big car” ＂old　dog＂", "big <-> car | old <-> dog", "big <-> car & old <-> dog"),
        ('foo"bar', "foo | bar", "foo & bar"),
        ('"" tea "  " \'\'', "tea", "tea"),
        ("tea tea TEA", "tea", "tea"),
        ("成语接龙", "成语 | 语接 | 接龙", "成语 <-> 语接 <-> 接龙"),
        ("“成语接龙”", "成语 <-> 语接 <-> 接龙", "成语 <-> 语接 <-> 接龙"),
        ("tea -成语接", "(tea) & !(成语 <-> 语接)", "(tea) & !(成语 <-> 语接)"),
        ("成", "成:*", "成:*"),
        ("用docker部署", "用:* | docker | 部署", "用 <-> docker <-> 部署"),
        ("我用docker署", "我用 | docker | 署:*", "我用 <-> 用 <-> docker <-> 署:*"),
        ("🎉tea 🇩🇪", "u1f389 | tea | u1f1e9u1f1ea", "u1f389 & tea & u1f1e9u1f1ea"),
    ],
)
def test_a_query_is_alternatives_of_terms(query: str, some: str, every: str) -> None:
    assert str(parse_query(query, match="any")) == some
    assert str(parse_query(query, match="all")) == every


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("order ref", "order & ref:*"),
        ('"the ref"', "the <-> ref:*"),
        ("caf or ord ", "caf | ord:*"),
        ("ref -order", "(ref) & !(order)"),
        ("well-kno", "well <-> kno:*"),
        ("tea 成语", "tea & 成语"),
        ("tea !!!", "tea:*"),
        ("", ""),
    ],
)
def test_the_last_word_may_be_the_beginning_of_one(query: str, expected: str) -> None:
    assert str(parse_query(query, match="all", prefix=True)) == expected


TEXT = "The big blue car of A-1234/56 is no red house, 成语接龙."


@pytest.mark.parametrize(
    ("query", "some", "every"),
    [
        ("blue dog", True, False),
        ("blue car", True, True),
        ("blue -car", False, False),
        ("dog or house", True, True),
        ("dog or house -red", False, False),
        ('"blue car"', True, True),
        ('"car blue"', False, False),
        ('dog "blue house"', False, False),
        ("A-1234/56", True, True),
        ("1234-A", False, False),
        ("-dog", False, True),
        ("-car", False, False),
        ("语龙 成语", True, False),
        ("", False, False),
        ("- & | !", False, False),
    ],
)
def test_any_or_every_term_is_wanted(query: str, some: bool, every: bool) -> None:
    assert parse_query(query, match="any").matches(document(TEXT)) is some
    assert parse_query(query, match="all").matches(document(TEXT)) is every


@pytest.mark.parametrize("match", ["any", "all"])
@pytest.mark.parametrize("query", NASTY)
def test_no_query_is_an_error(query: str, match: Match) -> None:
    parsed = parse_query(query, match=match, prefix=True)
    assert parsed.matches(document("")) is (match == "all" and str(parsed).startswith("!"))


@given(text=TEXTS, query=TEXTS, prefix=st.booleans())
def test_what_matches_every_term_matches_some_unless_all_are_exclusions(text: str, query: str, prefix: bool) -> None:
    every, some = (parse_query(query, match=match, prefix=prefix) for match in ("all", "any"))
    if every.matches(document(text)) and all(each.wanted for each in every.alternatives):
        assert some.matches(document(text))


def test_sixty_four_terms_score_and_all_are_asked_for() -> None:
    query = " ".join(f"w{number}" for number in range(100))
    some, every = parse_query(query), parse_query(query, match="all")
    assert len(some.terms) == len(every.terms) == MAX_TERMS
    assert not some.matches(document("w99"))
    assert every.matches(document(query))
    assert not every.matches(document(query.replace("w99", "")))


def test_a_score_is_bm25_with_one_occurrence_and_the_number_of_distinct_words() -> None:
    texts = [document(text) for text in ("tea tea tea", "tea and milk", "milk", "water from the well")]
    terms = parse_query("tea milk").terms
    of_scope = statistics(terms, texts)
    weight = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    assert of_scope.weights == {Term(("tea",)): weight, Term(("milk",)): weight}
    assert of_scope.length == (1 + 3 + 1 + 4) / 4
    assert bm25(texts[0], of_scope) == round(weight * 1.9 / (1 + 0.9 * (0.6 + 0.4 * 1 / 2.25)), 6)
    assert bm25(texts[1], of_scope) == round(2 * weight * 1.9 / (1 + 0.9 * (0.6 + 0.4 * 3 / 2.25)), 6)
    assert bm25(texts[3], of_scope) == 0.0


def test_phrases_and_open_words_are_terms_with_frequencies_of_their_own() -> None:
    texts = [document(text) for text in ("green tea", "tea green", "teapot", "water")]
    weights = statistics([Term(("green", "tea")), Term(("tea",), open=True)], texts).weights
    assert [*weights.values()] == [math.log(1 + 3.5 / 1.5), math.log(1 + 1.5 / 3.5)]


def test_rarer_terms_and_shorter_texts_come_first_and_ties_by_key() -> None:
    texts = {5: "tea", 4: "tea for two", 3: "coffee", 2: "tea", 1: "water", 0: "milk, tea and more coffee -"}
    documents = {key: document(text) for key, text in texts.items()}
    found = ranked(parse_query("tea coffee"), documents, documents.values()).found
    assert [key for key, _ in found] == [0, 3, 2, 5, 4]
    assert found[2][1] == found[3][1]


def test_statistics_are_those_of_the_whole_scope_whatever_is_asked_for() -> None:
    documents = {number: document("tea") for number in range(3)}
    scope = [*documents.values(), *[document("coffee and cake")] * 7]
    some = ranked(parse_query("tea"), {1: documents[1]}, scope).found
    assert some == [pair for pair in ranked(parse_query("tea"), documents, scope).found if pair[0] == 1]


def test_what_only_excludes_scores_nothing() -> None:
    documents = {1: document("tea"), 2: document("")}
    assert ranked(parse_query("-milk", match="all"), documents, documents.values()).found == [(1, 0.0), (2, 0.0)]
    assert ranked(parse_query("-milk"), documents, documents.values()).found == []
    assert ranked(parse_query("tea"), {}, []).found == []
