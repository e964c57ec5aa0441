"""A cluster for the tests that leave it as it is, and ways to one that a test may hurt."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.nodes import Cluster, running_cluster
from tests.processes import private_directory


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """Three primaries with a replica each, which every test leaves well."""
    with private_directory() as path:
        async with running_cluster(path) as cluster:
            yield cluster


@pytest.fixture
def dropped_connections() -> Iterator[None]:
    """Collect what the driver drops without closing it: connections to nodes that go while a topology is asked for."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
