"""What goes wrong with embedded servers."""

from __future__ import annotations

from convostore.errors import ConnectionError


class EmbeddedError(ConnectionError):
    """The embedded servers are missing, cannot be started, or are gone.

    The text says what to do about it and, where a server said something, quotes its last log lines. Not retryable: a
    start has already been tried until its timeout.
    """

    retryable = False
