"""What every contract class is: tests of a store that a fixture gives."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.asyncio
class StoreContract:
    """A suite of tests for one kind of store. Subclass it and override the fixture `store`.

    A store may be shared by all tests and hold other data: every test uses tenants of its own.
    """

    @pytest.fixture
    def store(self) -> Any:
        """The store under test."""
        raise NotImplementedError("override the fixture `store` to give the store under test")
