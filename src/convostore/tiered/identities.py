"""Which server a connection leads to: asked by INFO, and reused for as long as it cannot have lost writes unnoticed."""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

from convostore.redis.connection import Connection


class Identities:
    """The identity of the server behind each connection.

    Args:
        lasts: how long, in seconds, a checked identity may be reused before INFO is asked again.
    """

    def __init__(self, lasts: float) -> None:
        self._lasts = lasts
        self._checked: WeakKeyDictionary[object, tuple[str, float]] = WeakKeyDictionary()

    async def check(self, connection: Connection) -> None:
        """Ask for the identity, unless it is fresh and stays so for as long again.

        Raises:
            ConnectionError: the server is a replica.
        """
        asked_at = time.monotonic()
        checked = self._checked.get(connection.socket)
        if checked is None or asked_at - checked[1] > self._lasts / 2:
            self._checked[connection.socket] = await connection.identity(), asked_at

    def last(self, connection: Connection) -> str:
        """Return the identity as it was checked last."""
        return self._checked[connection.socket][0]

    def is_fresh(self, connection: Connection) -> bool:
        """Return whether the identity may still be reused."""
        return time.monotonic() - self._checked[connection.socket][1] < self._lasts
