"""A cluster for the tests that leave it as it is, and ways to one that a test may hurt."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.nodes import Cluster, Node, running_cluster, running_service
from tests.processes import private_directory


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """Three primaries with a replica each, which every test leaves well."""
    with private_directory() as path:
        async with running_cluster(path) as cluster:
            yield cluster


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, list[Node]]]:
    """A primary and its replica under three sentinels."""
    with private_directory() as path:
        async with running_service(path) as running:
            yield running


@pytest.fixture
def dropped_connections() -> Iterator[None]:
    """Collect what the driver drops without closing it: connections to nodes that go while a topology is asked for."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
