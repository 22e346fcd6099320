"""Fixtures for tests on a real Slurm."""

import time
from collections.abc import Iterator
from typing import cast

import pytest

from tests.slurm.cluster import Cluster, ClusterSpec, Tracking, slurm

LEFT_WITHIN = 5.0  # seconds from the end of a job to the end of its last process


@pytest.fixture(scope="module", params=["linuxproc", "cgroup"])
def tracking(request: pytest.FixtureRequest) -> Tracking:
    """How Slurm knows which processes belong to a job: real sites have both."""
    return cast(Tracking, request.param)


@pytest.fixture(scope="module")
def cluster_of_module(tracking: Tracking) -> Iterator[Cluster]:
    """Three nodes for all tests of a module, which share it by way of ``cluster``."""
    with slurm(ClusterSpec(tracking=tracking)) as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_of_module: Cluster) -> Iterator[Cluster]:
    """Three nodes, free; after the test its jobs are ended, and nothing may be left on any node."""
    yield from lent(cluster_of_module)


def lent(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster for a test, after which its jobs are ended, and nothing may be left on any node."""
    yield cluster
    cluster.end_all_jobs()
    assert_nothing_left(cluster)


def assert_nothing_left(cluster: Cluster, within: float = LEFT_WITHIN) -> None:
    """No process of the user of the tests runs on any machine, after so many seconds at most; what does is killed."""
    deadline = time.monotonic() + within
    while (left := cluster.left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    cluster.kill_left()
    assert not left
