"""Placement as Ray's request router, with replicas and requests that only have what it looks at."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from llmcore_app.cluster.affinity import Affinity
from llmcore_app.cluster.placement import Placement
from tests.app.cluster.requests import forwarded

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, while it is imported
]


def replica(name: str) -> Any:
    return SimpleNamespace(replica_id=SimpleNamespace(unique_id=name))


def pending(id: str, *args: object) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(internal_request_id=id),
        args=list(args),
        future=SimpleNamespace(done=lambda: False),
        routing_context=SimpleNamespace(should_backoff=False),
    )


@pytest.fixture
def router() -> Any:
    from llmcore_app.cluster.router import PlacementRouter

    router = PlacementRouter.__new__(PlacementRouter)
    router._placement = Placement(Affinity())
    return router


async def test_each_replica_is_a_rank_and_serve_is_to_back_off(router: Any) -> None:
    a, b = replica("a"), replica("b")
    request = pending("1", forwarded("/v1/completions", b'{"prompt": "hello"}'))
    ranks = await router.choose_replicas([a, b], request)
    assert sorted(ranks, key=lambda rank: str(rank[0].replica_id.unique_id)) == [[a], [b]]
    assert request.routing_context.should_backoff
    # The first one now has a request, so the next one goes to the other.
    assert (await router.choose_replicas([a, b], pending("2")))[0] != ranks[0]


async def test_without_a_request_there_is_no_order(router: Any) -> None:
    a, b = replica("a"), replica("b")
    assert await router.choose_replicas([a, b]) == [[a, b]]
