"""A cluster that tests share and leave in order, and a service under sentinels of a test's own."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.nodes import Cluster, Node, running_cluster, running_service
from tests.processes import private_directory


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """Three primaries with a replica each, which every test leaves healthy."""
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
    """Collect connections that the driver drops unclosed, to nodes that leave while it asks for the topology."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
