"""The page on adding a backend is the code of the example, in its order; `tests/examples` runs that."""

from __future__ import annotations

from tests.docs.pages import DOCS, ROOT, titled

PAGE = DOCS / "howto" / "add-a-backend.md"


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_the_blocks_of_a_file_are_the_file() -> None:
    shown: dict[str, list[str]] = {}
    for file, code in titled(PAGE):
        shown.setdefault(file, []).extend(lines(code))
    assert set(shown) == {"examples/sqlite_backend.py", "tests/examples/test_sqlite_contract.py"}
    for file, written in shown.items():
        assert written == lines((ROOT / file).read_text("utf-8")), file


def test_the_page_says_how_long_the_file_is() -> None:
    length = len((ROOT / "examples" / "sqlite_backend.py").read_text("utf-8").splitlines())
    assert f"one file of {length} lines" in PAGE.read_text("utf-8")
