"""Texts with queries that look like a part of them, and queries with operators: what text search must find."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """A text that a query finds because it looks like a part of it."""

    text: str
    query: str
    language: str = "simple"


# fmt: off
PAIRS = {
    "zh phrase in sentence": Pair("今天玩成语接龙游戏", "成语接龙"),
    "zh whole": Pair("今天玩成语接龙游戏", "今天玩成语接龙游戏"),
    "ja phrase": Pair("今日は成語しりとりをした", "しりとり"),
    "ja half/full width": Pair("ﾊﾟｽﾎﾟｰﾄ を なくした", "パスポート"),
    "ko phrase with josa": Pair("환불을 요청했습니다", "환불"),
    "th": Pair("ฉันต้องการคืนเงิน", "คืนเงิน"),
    "zh in mixed": Pair("docker 部署 失败", "docker 部署"),
    "emoji only": Pair("great service 🎉", "🎉"),
    "emoji beside word": Pair("great service🎉", "service"),
    "emoji between": Pair("great🎉service", "service"),
    "ZWSP between": Pair("lost\u200bparcel", "parcel"),
    "soft hyphen": Pair("re\u00adfund", "refund"),
    "BOM": Pair("\ufeffrefund please", "refund"),
    "NBSP": Pair("lost\u00a0parcel", "parcel"),
    "NFC vs NFD": Pair("cafe\u0301 order", "café"),
    "NFD query": Pair("café order", "cafe\u0301"),
    "turkish I": Pair("İSTANBUL sipariş", "istanbul"),
    "turkish lang": Pair("İSTANBUL sipariş", "istanbul", "turkish"),
    "german ß": Pair("STRASSE", "straße"),
    "upper Ä": Pair("ÄPFEL", "äpfel"),
    "greek sigma": Pair("ΟΔΟΣ", "οδος"),
    "cyrillic upper": Pair("ВОЗВРАТ", "возврат"),
    "ar with tatweel": Pair("مرحبـا بكم", "مرحبا"),
    "ar vowels": Pair("ك\u0650ت\u064eاب", "كتاب"),
    "he with marks": Pair("שלום\u200f עולם", "שלום"),
    "order number": Pair("order #A-1234/56 lost", "A-1234/56"),
    "email": Pair("write to ann@example.com please", "ann@example.com"),
    "phone": Pair("call +49-170-1234567", "+49-170-1234567"),
    "hyphen": Pair("a well-known bug", "well-known"),
    "apostrophe": Pair("don't ship", "don't"),
    "curly apostrophe": Pair("don’t ship", "don't"),
    "decimal": Pair("paid 1,234.50 EUR", "1,234.50"),
    "negative number": Pair("balance -5", "5"),
}
# fmt: on

CONTENTS = {
    "blue": "a blue car",
    "red": "a red and blue car",
    "big": "a big car and an old dog",
    "house": "my house",
    "bug": "a well-known bug",
    "letters": "a b c d",
    "foo": "foo and bar",
    "it": "it's a d'or at http://x.y/a&b?c=(1)",
    "end": "the end",
}
QUERIES = {
    "blue car -red": ("blue big", "blue"),
    'blue "big car" or house -"old dog"': ("blue red big house", "house"),
    "well-known bug": ("bug", "bug"),
    "-red": ("", "blue big house bug letters foo it end"),
    "it's a d'or http://x.y/a&b?c=(1)": ("blue red big bug letters it", "it"),
    "the": ("end", "end"),
    '"a b" c': ("letters it", "letters it"),
    "foo & | ! (bar)": ("foo", "foo"),
    "a or b or c d": ("blue red big bug letters it", "blue red big bug letters it"),
    '-"big car"': ("", "blue red house bug letters foo it end"),
}
"""Queries with the names of the contents that they find under `match="any"` and `match="all"`."""
