"""Text search without a database: how text is normalised, what a query asks for, and how well a text matches it."""

from convostore.domain.text.names import Name, read_name
from convostore.domain.text.normaliser import document, folded, is_plain, search_text, words
from convostore.domain.text.query import Match, Query, Term, parse_query
from convostore.domain.text.ranking import Ranked, bm25, ranked, statistics

__all__ = [
    "Match",
    "Name",
    "Query",
    "Ranked",
    "Term",
    "bm25",
    "document",
    "folded",
    "is_plain",
    "parse_query",
    "ranked",
    "read_name",
    "search_text",
    "statistics",
    "words",
]
