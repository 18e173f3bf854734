"""The deployments on Ray Serve, as far as they go without a cluster. tests/e2e/test_ray.py starts one."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from llmcore.config import EngineConfig
from llmcore_app.config import ClusterConfig, ServerConfig

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, while it is imported
]


def test_the_application_has_the_clusters_options() -> None:
    from llmcore_app.cluster.deployments import create_application

    cluster = ClusterConfig(n_replicas=3, n_replicas_max=5, n_ingresses=2, routing="round-robin", neighbour_bytes=7)
    engine = EngineConfig(model_path="/m.gguf", n_slots=4, n_waiting_max=10)
    ingress: Any = create_application(engine, ServerConfig(), cluster, 2)
    assert ingress._bound_deployment.num_replicas == 2
    replicas = ingress._bound_deployment.init_args[0]._bound_deployment
    scaling = replicas._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (3, 5, 4)
    assert (replicas.max_ongoing_requests, replicas.max_queued_requests) == (15, 14)
    assert replicas.ray_actor_options["num_cpus"] == 2
