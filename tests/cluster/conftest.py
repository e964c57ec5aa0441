"""A cluster for the tests that leave it as it is, and ways to one that a test may hurt."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster.nodes import Cluster, running_cluster
from tests.processes import private_directory


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """Three primaries with a replica each, which every test leaves well."""
    with private_directory() as path:
        async with running_cluster(path) as cluster:
            yield cluster
