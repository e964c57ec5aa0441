"""Texts and queries that text search must agree on: pairs that look alike, nasty cases, and strategies for more."""

from __future__ import annotations

from functools import cache
from random import Random

from hypothesis import strategies as st

from convostore.domain.text.normaliser import MAX_TEXT
from convostore.testing.memory import search_pairs
from convostore.testing.memory.search_pairs import Pair
from tests.unit.strategies import CHARACTERS

# fmt: off
PAIRS = {
    **search_pairs.PAIRS,
    "turkish dotless I": Pair("IŞIK yandı", "ışık"),
    "turkish dotless i": Pair("Isparta’dan", "ısparta"),
    "zh first letter": Pair("成语接龙", "成"),
    "zh last letter": Pair("成语接龙", "龙"),
    "zh beside latin": Pair("我用docker部署失败", "用docker部署"),
    "zh across a digit": Pair("我在第3章", "第3章"),
    "full width": Pair("ＡＢＣ１２３", "abc123"),
    "th combined vowel": Pair("ต้องทำงาน", "ทำ"),
    "th zero-width spaces": Pair("คืน\u200bเงิน\u200bให้ฉัน", "คืนเงิน"),
    "km": Pair("ខ្ញុំចង់បានប្រាក់សំណងវិញ", "ប្រាក់សំណង"),
    "lo": Pair("ຂ້ອຍຢາກໄດ້ເງິນຄືນ", "ເງິນຄືນ"),
    "my": Pair("ငွေပြန်အမ်းချင်ပါတယ်", "ပြန်အမ်း"),
    "bo": Pair("བཀྲ་ཤིས་བདེ་ལེགས", "བདེ་ལེགས"),
    "jv": Pair("ꦲꦏ꧀ꦱꦫꦗꦮ", "ꦱꦫ"),
    "rare han": Pair("𠀀𪜶𫝀𰀀𱍐", "𫝀𰀀"),
    "ko decomposed": Pair("환불을 요청했습니다", "환불"),
    "hi": Pair("मेरा पार्सल खो गया है", "पार्सल"),
    "hi digits": Pair("ऑर्डर १२३४", "1234"),
    "ar digits": Pair("رقم الطلب ١٢٣٤", "1234"),
    "fa zero-width non-joiner": Pair("می\u200cخواهم", "میخواهم"),
    "ar hamza above vowels": Pair("ا\u064e\u0654حمد", "أحمد"),
    "he points": Pair("שָׁלוֹם", "שלום"),
    "ta": Pair("வீட்டில் பார்சல்", "பார்சல்"),
    "vi": Pair("Tôi muốn hoàn tiền", "HOÀN TIỀN"),
    "vi decomposed": Pair("hoa\u0300n tie\u0302\u0300n", "hoàn tiền"),
    "uk apostrophes": Pair("об’єкт", "обʼєкт"),
    "trade mark": Pair("Acme™ rules", "acme"),
    "fraction": Pair("1½ cups", "1"),
    "keycap": Pair("press 1️⃣ now", "1"),
    "skin tone": Pair("👍🏽", "👍"),
    "family": Pair("👩‍👩‍👧‍👦 here", "👧"),
    "flag": Pair("from 🇫🇷🇩🇪", "🇩🇪"),
    "variation selector": Pair("❤️", "❤"),
    "ligature": Pair("eﬃcient", "efficient"),
    "adlam": Pair("𞤀𞤣𞤤𞤢𞤥 𞤨", "𞤢𞤣𞤤𞤢𞤥"),
    "cherokee": Pair("ᏣᎳᎩ", "ꮳꮃꭹ"),
    "private use": Pair("\ue000\ue001 x", "\ue000\ue001"),
    "hash": Pair("commit 12e4ab9f", "12e4ab9f"),
    "snake": Pair("call get_user_id()", "get_user_id"),
    "part of an address": Pair("see https://shop.example.com/orders/77?x=1", "orders"),
    "no-break hyphen": Pair("well\u2011known", "well-known"),
}

STRANGERS = {
    "zh not a substring": Pair("今天玩成语接龙游戏", "成接"),
    "zh across words": Pair("docker 部署 失败", "署失"),
    "th without tone": Pair("ต้น", "ตน"),
    "vietnamese tones": Pair("ma", "má"),
    "umlaut": Pair("schon", "schön"),
    "nukta": Pair("फन", "फ़न"),
    "another flag": Pair("🇩🇰🇪🇸", "🇩🇪"),
    "joined words": Pair("Acme™", "acmetm"),
}

NASTY = (
    "", " ", "'", '"', "-", "--", "a--b", "-a", "+a", "a-b-c", "a_b", "_", "a.b", "a.b.c", ".", "a.", ".a", "a/b",
    "/a/b/c", "~/a",
    "a@b.c", "ann+x@example.com", "http://x.y/a&b?c=(1)",
    "https://user:pw@host.example:8080/p/a/t/h.html?q=1&r=%20#frag",
    "ftp://", "www.example.com", "127.0.0.1:80", "::1", "C:\\temp\\a.txt", "-5", "+5", "5-", "5-3", "1.5",
    "-1.5e-3", "1e9", "1e9x", "12e4ab9f",
    "1E+9", "1e999", "0x1f", "007", "1,234.50", "1'234", "1/2", "½", "1½", "²", "x²", "٣٫١٤", "१२३abc", "a1b2",
    "1a2b", "9e1\u0301x", "5\u0301x",
    "it's", "l’homme", "rock 'n' roll", "O'Neill's", "''", "<b>bold</b>", "<script>x</script>", "&amp; &#65; &",
    "a:*", "a & b | !c",
    "<->", "<2>", "(((", "\\", "\\'", "a\\b", "$1", "%_", "*", "#tag", "@name", "c++", "c#", ".net",
    "\t\n\r\x0b\x0c", "a\x01b\x1fc", "\x7f",
    "\u0301", "a\u0301\u0302\u0303", "\u0301a", "x" * 399, "x" * 401, "é" * 1_200, "x" * 3_000, "x\u0301" * 2_000,
    "字" * 3_000, "ต้" * 2_000,
    "\u200b", "a\u200b\u200bb", "\u2060\ufeff", "\u202eabc\u202c", "\u3000", "ﷺ", "ﷺ" * 30, "㍿", "™", "©®", "…",
    "—", "a—b", "a–b", "·", "l·l",
    "🎉" * 300, "a🎉b🎉c", "🇩🇪🇫🇷🇺", "a🇩🇪b", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "←→", "▶️", "★", "─┼─", "⠓⠑", "部署a失败1字", "a部", "部a",
    "1部2", "部\u0301署", "\u0301部",
    "カ\u3099", "か゛", "ー", "々", "〇一", "〆", "한", "ㅋㅋㅋ", "\u1112\u1161\u11ab", "คำ", "\u0e34ก",
    "\u0e01\u0e01\u0e34\u0e34", "က္က", "ក្ក", "ꦏꦴ", "\ua9b4", "𠀀", "𰀀𰀁",
    "İ", "I", "ı", "ß", "ẞ", "ﬀ", "ŉ", "ǰ", "ΐ", "ͅ", "ς", "Σ", "ᏣᎳᎩ", "ꭰ", "ა", "Ა", "𐐀𐐨", "𞤀", "𞤀\u0301",
    "\ue000", "\U000f0000", "\ufffd", "\ufffe", "\U0010ffff",
    "ؙب", "ا\u0653", "۝", "\u0600١", "שׁ", "אַ", "ײַ", "्क", "क्‍ष", "ৎ", "\u1734a", "a\u302e", "x\U0001d165y",
    "a\u0488b", "a\u20ddb", "ᠠ\u180bᠠ", "\u115fa", "\u3164",
    "ก" + "\u0e34" * 1_000, "ꦏ" + "ꦴ" * 100,
    "u1f389", "u1f1e9u1f1ea", "or", "OR or Or", "and not", "null", "1 2 3", "a b a b a b",
)

PIECES = (
    "tea", "Tea", "teapot", "green", "a", "b", "'", '"', "-", " ", " ", " ", "or", " or ", ",", ".", "@", "/", "_",
    ":", "&", "|", "!", "(", ")", "*", "<", ">",
    "\\", "1", "23", "e4", "1e5", "-5", "1.5", "é", "e\u0301", "İ", "ß", "ς", "т", "ЧАЙ", "成", "语", "成语接龙", "カ",
    "ﾊﾟ", "환불", "을", "ค", "ื", "คืน", "\u0e33", "ក", "្", "ပ", "ြ",
    "ا", "\u064e", "ـ", "ש", "\u05b8", "क", "्", "\u093c", "த", "ி", "🎉", "🏽", "\u200d", "🇩", "🇪", "\u200b",
    "\u00ad", "\ufe0f", "\u0301", "\u0308", "𞤀", "𰀀", "ꦏ", "ꦴ", "ᏣᎳ", "\ue000",
    "٣", "३", "½", "™", "’", "“", "”", "—", "…", "。", "、", "＂", "－", "Ａ", "\u3000", "\n", "x" * 401,
)
# fmt: on

TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(CHARACTERS, max_size=30)
ASCII_TEXTS = st.text("abzAIZ019 e.,:;!?'\"()-/_@+ \n", max_size=30)


SCRIPTS = {
    "latin": range(0x61, 0x7B),
    "cyrillic": range(0x430, 0x450),
    "devanagari": range(0x905, 0x93A),
    "adlam": range(0x1E922, 0x1E944),
    "private use": range(0xE000, 0xF900),
    "han": range(0x4E00, 0x9FFF),
    "han of the second plane": range(0x20000, 0x2A6D0),
    "han of a later version": range(0x2A700, 0x2EBE0),
    "hangul": range(0xAC00, 0xD7A4),
    "thai": range(0xE01, 0xE3A),
    "khmer": range(0x1780, 0x17D2),
    "emoji": range(0x1F300, 0x1F900),
    "what becomes eighteen characters": range(0xFDFA, 0xFDFB),
}
SPACED = ("latin", "cyrillic", "devanagari", "adlam", "private use")


@cache
def longest(script: str) -> str:
    """Return a text of the letters of a script that is as long as what is indexed, in words of two if it has words."""
    chars = Random(0).choices([*map(chr, SCRIPTS[script])], k=MAX_TEXT)
    if script in SPACED:
        chars[2::3] = " " * len(chars[2::3])
    return "".join(chars)
