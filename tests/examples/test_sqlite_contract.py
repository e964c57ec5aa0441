"""The contract suite on SQLite."""

from collections.abc import Iterator

import pytest

from convostore.testing import ConfigStoreContract
from examples.sqlite_backend import Database, SqliteConfigStore


class TestSqliteConfigStore(ConfigStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[SqliteConfigStore]:
        with Database(":memory:") as database:
            yield SqliteConfigStore(database)
