"""The servers of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convostore.embedded import Embedded
from tests.secrets.servers import Servers, opened


@pytest.fixture(scope="module")
async def servers(engines: Embedded) -> AsyncIterator[Servers]:
    """The shared servers, with credentials and behind proxies."""
    async with opened(engines) as found:
        yield found
