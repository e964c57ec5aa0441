"""Where and how long a store may be used: in the process and event loop that opened it, until it is closed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from convostore.call.call import Call, Proceed
from convostore.errors import StoreError


class Lifetime:
    """Refuses calls after the end, in a forked child and in another event loop, before anything is sent.

    Args:
        connected: whether the store has connections. They belong to one event loop of one process: elsewhere, they
            would mix up the answers of several callers.
    """

    def __init__(self, *, connected: bool) -> None:
        self._connected = connected
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        if connected:
            # A store that is made before the loop runs belongs to the loop of its first call.
            with suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
        self._closed = False

    def end(self) -> None:
        """Refuse every later call."""
        self._closed = True

    def check(self) -> None:
        """Check that a call may be made here and now.

        Raises:
            StoreError: `code` is `"closed"`, `"forked"` or `"wrong_loop"`.
        """
        if self._closed:
            raise StoreError("The stores are closed; open_stores() opens them again.", code="closed")
        if not self._connected:
            return
        if os.getpid() != self._process:
            raise StoreError("The stores belong to the parent process; open others after the fork.", code="forked")
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if loop is not self._loop:
            raise StoreError("The stores belong to another event loop; open others in this one.", code="wrong_loop")

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Run the call.

        Raises:
            StoreError: see `check`.
        """
        self.check()
        return proceed(call)
