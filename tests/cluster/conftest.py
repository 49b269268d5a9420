"""One Valkey Cluster for the tests of this folder; whatever a test does to it is over when the next begins."""

from collections.abc import Iterator

import pytest

from tests.cluster.servers import Cluster, running_cluster


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The servers, started once."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """A whole cluster, with whatever earlier tests have left in it."""
    shared_cluster.heal()
    return shared_cluster
