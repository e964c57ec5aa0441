"""The error of the embedded servers."""

from __future__ import annotations

from convostore.errors import ConnectionError


class EmbeddedError(ConnectionError):
    """The embedded servers are not installed, do not start, or have ended.

    The message names the remedy and quotes the last log lines of the server, if any. Not retryable: a start has been
    retried until its deadline.
    """

    retryable = False
