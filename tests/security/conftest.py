"""Fixtures: a real Slurm with three nodes, mallory on all of them, and sessions on two."""

from collections.abc import Iterator

import pytest

from tests.security.enemy import Enemy
from tests.security.scenes import SHAPES, Scene, Shape, scene
from tests.slurm.cluster import Cluster, ClusterSpec, slurm


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """Three of them."""
    with slurm(ClusterSpec()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def enemy(nodes: Cluster) -> Enemy:
    """Mallory, who knows what was open before any session."""
    found = Enemy(nodes, nodes.nodes[:2], nodes.nodes[2])
    found.before = found.scan()
    return found


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """The keys of the sessions that have ended, by what they opened."""
    return {}


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: shape.name)
def at(request: pytest.FixtureRequest, enemy: Enemy, kept: dict[str, str]) -> Iterator[Scene]:
    """A session that is ready, and after that one that works."""
    shape: Shape = request.param
    with scene(shape, enemy, kept) as made:
        yield made
        kept |= made.keys()
