"""What each character is to text search: part of a word, invisible, a symbol that is a word, or a separator."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from unicodedata import category, decimal, ucd_3_2_0

_UNMARKED = "\U0001f1e6-\U0001f1ff\U00020000-\U0003ffff"  # letters of flags, Han; some are no letters in old tables
_SPACELESS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai scripts
    "\u1b00-\u1b7f\ua980-\ua9df"  # Balinese, Javanese
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff"  # Hangul: has spaces, but its particles are not separated
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\u3041-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"  # Kana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\ua000-\ua48f\U00016fe0-\U00018dff\U0001b170-\U0001b2ff"  # Yi, Tangut, Khitan, Nushu
) + _UNMARKED
"""Blocks of the scripts whose words are not, or not only, separated by spaces, and the letters of flags."""

# In text that `WORDS` has spelled, what is neither \w nor a space is a mark.
RUN = re.compile(f"[{_SPACELESS}](?:[{_SPACELESS}]|[^\\w\\s])*")
"""Letters of such scripts in a row."""
UNIT = re.compile(f"(?:[{_UNMARKED}]|(?=\\w)[{_SPACELESS}])(?:(?![{_UNMARKED}])[^\\w\\s]){{0,30}}")
"""One letter of such a script with its marks; so many that two letters are not too long for a word, even escaped."""
SOFT_BREAK = re.compile(f"(?<=[{_SPACELESS}])\u200b+(?=[{_SPACELESS}])")
"""Zero-width spaces within such a script: they mark where a line may break, and some writers leave them out."""

_VOWEL_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u08ca-\u08ff]"
)
"""Hebrew points and accents, Arabic vowel and reading marks, which most writers leave out."""

_NO_SYMBOL = re.compile("[\u0080-\u218f\u2400-\u259f\u2800\ufff0-\uffff]")
"""Signs that are not looked for: ©, °, lines and blocks that draw boxes, replacement characters."""

_INVISIBLE = re.compile("[\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""What is invisible besides format characters: joiner, tatweel, fillers, inherent vowels, variation selectors."""

ZERO_WIDTH_SPACE = "\u200b"
_TYPEWRITTEN = dict.fromkeys("‘’‚‛ʻʼʽ", "'") | dict.fromkeys("“”„‟", '"') | {"\u2010": "-"}
"""Quotation marks, apostrophes and hyphens, as keyboards have them."""
JOINERS = frozenset("-_./\\@:#+&=%~")
"""What joins the parts of a name, a number or an address: such parts are a phrase in a query."""

MAX_SPELLED = 1 << 16
"""How many characters a process remembers the spelling of: more than one text has, fewer than a stranger can send."""


class Kind(Enum):
    WORD = "part of a word"
    INVISIBLE = "dropped"
    SYMBOL = "a word of its own"
    SEPARATOR = "between words"


def kind(char: str) -> Kind:
    """Return what a character is, after NFKC and case folding."""
    code, of_unicode = ord(char), category(char)
    if 0x1F000 <= code < 0x1FB00:  # emoji, and those to come
        return Kind.WORD if 0x1F1E6 <= code < 0x1F200 else Kind.SYMBOL
    if char == ZERO_WIDTH_SPACE or of_unicode == "Cs" or char in _TYPEWRITTEN:
        return Kind.SEPARATOR
    if of_unicode in ("Cf", "Me") or _INVISIBLE.match(char) or (of_unicode == "Mn" and _VOWEL_POINTS.match(char)):
        return Kind.INVISIBLE
    if of_unicode == "So":
        return Kind.SEPARATOR if _NO_SYMBOL.match(char) else Kind.SYMBOL
    # Unassigned code points count as letters: most of those to come are.
    return Kind.WORD if of_unicode[0] in "LMN" or of_unicode in ("Cn", "Co") else Kind.SEPARATOR


def escaped(char: str) -> str:
    return f"u{ord(char):05x}"


def _is_dependable(char: str) -> bool:
    """Return whether PostgreSQL's parser takes a character for part of a word under every locale and version.

    It asks the C library, whose Unicode may be old, or takes all that is not ASCII for letters. Letters and marks of
    Unicode 3.2 (2002) that are the same today are safe; tests compare them with the parser one by one.
    """
    then, now = ucd_3_2_0.category(char), category(char)
    return (then[0] == now[0] == "L" and now != "Lu") or (then == now and now[0] == "M" and char < "\U00010000")


class Spelling(dict[int, str]):
    """How each character is spelled, for `str.translate`: filled as characters are met."""

    def __init__(self, *, separator: Callable[[str], str], symbol: Callable[[str], str], escapes: bool) -> None:
        super().__init__()
        self._separator, self._symbol, self._escapes = separator, symbol, escapes
        self.rare: dict[str, str] = {}
        """Letters met that are escaped later, when they have been recognised as letters of a script without spaces."""

    def __missing__(self, code: int) -> str:
        spelled = self._spelled(chr(code))
        if len(self) < MAX_SPELLED:
            self[code] = spelled
        return spelled

    def _spelled(self, char: str) -> str:
        match kind(char):
            case Kind.INVISIBLE:
                return ""
            case Kind.SYMBOL:
                return self._symbol(char)
            case Kind.SEPARATOR:
                return self._separator(char)
        if category(char) == "Nd":
            return str(decimal(char))
        if char == "ı":  # Its capital is I, whose small letter is i.
            return "i"
        if not self._escapes or char.isascii() or _is_dependable(char):
            return char
        if not RUN.match(char):
            return escaped(char)
        self.rare[char] = escaped(char)
        return char


def _as_seen(separator: str) -> str:
    return _TYPEWRITTEN.get(separator, separator if separator.isprintable() else " ")


def _as_word(symbol: str) -> str:
    return f" {escaped(symbol)} "


SEEN = Spelling(separator=_as_seen, symbol=str, escapes=False)
"""What is seen, punctuation and symbols included."""
WORDS = Spelling(separator=lambda _: " ", symbol=_as_word, escapes=True)
"""Words between spaces."""
JOINED = Spelling(separator=lambda char: "-" if char in JOINERS else " ", symbol=_as_word, escapes=True)
"""Words between spaces, those that a joiner joins between hyphens."""
