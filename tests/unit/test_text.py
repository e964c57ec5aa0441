"""Text is found as it looks: one spelling for what looks the same, in every script."""

from __future__ import annotations

from unicodedata import category, normalize

import pytest
from hypothesis import example, given

from convostore.domain.text import document, folded, is_plain, parse_query, search_text, words
from convostore.domain.text.characters import JOINED, MAX_SPELLED, SEEN, WORDS
from convostore.domain.text.normaliser import MAX_BYTES, MAX_POSITION, MAX_POSITIONS, MAX_TEXT, MAX_WORD
from convostore.domain.text.query import Match
from convostore.testing.memory.search_pairs import Pair
from tests.unit.texts import ASCII_TEXTS, NASTY, PAIRS, STRANGERS, TEXTS, longest

EVERY_MATCH = pytest.mark.parametrize("match", ["any", "all"])


@EVERY_MATCH
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_looks_like_a_part_of_a_text_finds_it(pair: Pair, match: Match) -> None:
    assert parse_query(pair.query, match=match).matches(document(pair.text))


@EVERY_MATCH
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_phrase_finds_what_its_words_find(pair: Pair, match: Match) -> None:
    assert parse_query(f'"{pair.query}"', match=match).matches(document(pair.text))


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_is_excluded_is_not_found(pair: Pair) -> None:
    text = f"tea {pair.text}"
    assert parse_query("tea").matches(document(text))
    assert not parse_query(f'tea -"{pair.query}"').matches(document(text))


@pytest.mark.parametrize("pair", STRANGERS.values(), ids=STRANGERS)
def test_what_looks_different_does_not(pair: Pair) -> None:
    assert not parse_query(pair.query, match="all").matches(document(pair.text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where's the REFUND?", "where s the refund"),
        ("ann@example.com, A-1234/56", "ann example com a 1234 56"),
        ("get_user_id() -5 1.5e-3", "get user id 5 1 5e 3"),
        ("commit 12e4ab9f", "commit 12e4 ab9f"),
        ("Straße ÄPFEL ﬁn Ⅳ", "strasse äpfel fin iv"),
        ("İSTANBUL ISPARTA ılık", "istanbul isparta ilik"),
        ("tiền hoàn", "tiền hoàn"),
        ("مُسْتَشْفَى ـــ ٣٫١٤", "مستشفى 3 14"),
        ("שָׁלוֹם", "שלום"),
        ("पार्सल १२", "पार्सल 12"),
        ("我用docker部署", "我用 用 docker 部署 署"),
        ("ต้องทำงาน", "ต้อ อง งทํ ทํา าง งา าน น"),
        ("환불을", "환불 불을 을"),
        ("パスﾎﾟｰﾄ", "パス スポ ポー ート ト"),
        ("great🎉service👍🏽", "great u1f389 service u1f44d u1f3fd"),
        ("🇩🇪🇫🇷", "u1f1e9u1f1ea u1f1eau1f1eb u1f1ebu1f1f7 u1f1f7"),
        ("👩‍👧 1️⃣ ❤️ →─©", "u1f469 u1f467 1 u02764"),
        ("𞤀𞤣", "u1e922u1e923"),
        ("\ue000x 〇一", "u0e000x u03007一 一"),
        ("\u0301a e\u0301 5\u0301b", "a é 5 b"),
        ("e\u034f\u0301", "é"),
        ("Acme™ 1½", "acme 1 1 2"),
    ],
)
def test_words_are_spelled_for_every_parser(text: str, found: str) -> None:
    assert search_text(text) == found


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (" New  York\n", "new york"),
        ("O’Neill & Söhne", "o'neill & so\u0308hne"),
        ("“C++”", '"c++"'),
        ("ＡＢＣ １２３", "abc 123"),
        ("re\u00adfund\u200b", "refund"),
        ("well\u2011known", "well-known"),
        ("İzmir", "izmir"),
        ("😀️", "😀"),
    ],
)
def test_names_that_look_the_same_are_folded_alike(text: str, same: str) -> None:
    assert folded(text) == folded(same)


def test_names_that_look_different_stay_apart() -> None:
    names = ["C", "C++", "C#", "c.", "Müller", "Muller", "ma", "má", "", "🎉", "🎈"]
    assert len({*map(folded, names)}) == len(names)


@given(text=TEXTS)
def test_a_folded_text_has_the_same_words_and_folds_to_itself(text: str) -> None:
    assert words(folded(text)) == words(text)
    assert folded(folded(text)) == folded(text)


@given(text=TEXTS)
def test_composed_and_decomposed_texts_have_the_same_words(text: str) -> None:
    assert words(normalize("NFD", text)) == words(normalize("NFC", text)) == words(text)


@example(text="I\u094d\u0307")  # the dot comes after a mark of a lower class
@given(text=TEXTS)
def test_capital_letters_are_small_ones(text: str) -> None:
    assert words(text.upper()) == words(text.lower()) == words(text)


@pytest.mark.parametrize("text", ["{0}", "a{0}b", "1{0}2", "x {0} y", "{0}1e5{0}", "{0}{0}"])
def test_letters_are_read_alike_with_and_without_a_symbol_that_needs_the_long_way(text: str) -> None:
    for char in map(chr, range(0x80, 0x2100)):
        if char.isalpha() or char in "–—‘’“”„…":
            assert words(f"{text.format(char)} 🎉") == [*words(text.format(char)), "u1f389"]


@given(text=TEXTS)
def test_what_is_spelled_is_its_own_spelling_but_for_bigrams(text: str) -> None:
    spelled = [word for word in words(text) if word.isascii()]
    assert words(" ".join(spelled)) == spelled


@pytest.mark.parametrize("text", NASTY)
def test_words_are_letters_marks_and_digits_that_every_version_of_unicode_knows(text: str) -> None:
    for word in words(text):
        assert 0 < len(word) <= MAX_WORD
        assert word[0].isalnum()
        assert not word.isspace()
        assert {category(char)[0] for char in word} <= {"L", "M", "N"}
        assert all(char in "0123456789" for char in word if category(char)[0] == "N")


@given(text=ASCII_TEXTS)
def test_plain_texts_are_the_words_between_what_is_no_letter(text: str) -> None:
    if is_plain(text):
        apart = "".join(char if char.isalnum() else " " for char in text.lower())
        assert words(text) == words(apart)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Where is my parcel? It's late, again.", True),
        ("A 5 and 1e5x.", True),
        ("", True),
        ("x" * MAX_WORD, True),
        ("x" * (MAX_WORD + 1), False),
        ("a " * (MAX_TEXT // 2), True),
        ("a " * (MAX_TEXT // 2) + "b", False),
        ("café", False),
        ("well-known", False),
        ("1.5", False),
        ("a.b", False),
        ("http://x", False),
        ("<b>", False),
        ("-5", False),
    ],
)
def test_plain_texts_can_be_given_as_they_are(text: str, plain: bool) -> None:
    assert is_plain(text) is plain


@pytest.mark.slow
@pytest.mark.parametrize("script", ["latin", "private use", "han", "han of a later version", "khmer"])
def test_the_longest_texts_are_indexed_from_their_beginning_until_a_tsvector_is_full(script: str) -> None:
    text = longest(script)
    every, indexed, found = words(text), search_text(text).split(), document(text)
    sizes = [len(word.encode()) + len(word.encode()) % 2 + 2 + 2 * len(places) for word, places in found.items()]
    assert sum(sizes) <= MAX_BYTES
    assert indexed == every or (indexed == every[: len(indexed)] and sum(sizes) > MAX_BYTES - 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["han", "han of the second plane", "hangul"])
def test_eighty_thousand_letters_of_a_script_without_spaces_are_indexed(script: str) -> None:
    assert len(search_text(longest(script)).split()) >= 80_000


def test_positions_end_where_those_of_a_tsvector_end() -> None:
    found = document(" ".join(["often", *(f"w{number}" for number in range(MAX_POSITION)), "late", "later"]))
    assert found["late"] == found["later"] == [MAX_POSITION]
    assert len(document("often " * 1_000)["often"]) == MAX_POSITIONS
    assert parse_query('"late later"').matches(found) is False


def test_what_a_process_remembers_about_characters_is_bounded() -> None:
    for plane in range(0x20000, 0x38000, 0x8000):
        words("".join(map(chr, range(plane, plane + 0x8000))))
    assert max(map(len, (SEEN, WORDS, JOINED))) <= MAX_SPELLED
    assert words("𰀀𰀁") == ["u30000u30001", "u30001"]


def test_characters_of_later_versions_of_unicode_are_letters_or_emoji() -> None:
    assert words("\U0001e4d0\U0001e4d1") == ["u1e4d0u1e4d1"]
    assert words("a\U0001faeab") == ["a", "u1faea", "b"]
