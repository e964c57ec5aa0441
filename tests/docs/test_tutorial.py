"""The lessons run as they stand and print what they show."""

from __future__ import annotations

from convostore.embedded import Embedded
from tests.docs.pages import DOCS, blocks, output_of


def test_the_first_conversation_prints_what_the_page_shows(engines: Embedded) -> None:
    page = DOCS / "tutorial" / "first-conversation.md"
    (shown,) = blocks(page, "text")
    printed = output_of(
        "\n\n".join(blocks(page, "python")),
        CONVOSTORE_POSTGRES_URL=engines.postgres_dsn,
        CONVOSTORE_REDIS_URL=engines.redis_url,
    )
    assert printed == shown.splitlines()
