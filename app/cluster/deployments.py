"""The two deployments on Ray Serve: the ingress that callers reach, and the replicas of the service."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Message

from llmcore import log
from llmcore.config import EngineConfig
from llmcore.errors import EngineDiedError, EngineUnavailableError, OverloadedError
from llmcore.log import event
from llmcore.worker.client import AsyncEngine

from ..application import create_service, model_id
from ..auth.keys import load_keys
from ..config import ClusterConfig, ServerConfig
from .forwarded_request import ForwardedRequest
from .ingress import Ingress
from .replica import Replica
from .replica_response import ReplicaResponse
from .router import PlacementRouter

logger = logging.getLogger(__name__)

# A model's first start on a machine measures step times, which takes minutes for a large one; health checks run meanwhile.
HEALTH_TIMEOUT_S = 30.0
# Removing a replica loses its cache, so a short lull must not do it.
DOWNSCALE_DELAY_S = 300.0
UPSCALE_DELAY_S = 10.0


class ReplicaActor:
    """A Replica as an actor of Ray."""

    async def __init__(self, engine: EngineConfig, server: ServerConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        log.configure(server.log_level)
        name = serve.get_replica_context().replica_id.unique_id
        service = create_service(
            AsyncEngine(engine, log_level=server.log_level),
            server,
            model_id(server, engine.model_path),
            load_keys(server),
        )
        self._replica = Replica(service, name)
        await self._replica.start()

    async def respond(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        """Called by RayReplicas.stream()."""
        async for messages in self._replica.respond(request):
            yield messages

    async def collect_response(self, request: ForwardedRequest) -> ReplicaResponse:
        """Called by RayReplicas.broadcast()."""
        return await self._replica.collect_response(request)

    def check_health(self) -> None:
        """Called by Serve; an exception makes it replace the replica."""
        self._replica.check_health()

    async def __del__(self) -> None:
        if hasattr(self, "_replica"):
            await self._replica.stop()


class IngressActor:
    """The ingress as an actor of Ray."""

    def __init__(self, replicas: DeploymentHandle, server: ServerConfig) -> None:
        log.configure(server.log_level)
        self._ingress = Ingress(RayReplicas(replicas), server.max_body_bytes)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Called by Serve for the application to run."""
        return self._ingress


class RayReplicas:
    """Calls to the replicas through a handle of Serve. Implements ingress.Replicas."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._streaming_handle = handle.options(stream=True)
        self._handle = handle

    async def stream(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        """Raises OverloadedError if all replicas are full, EngineUnavailableError if none is running, EngineDiedError if the
        replica exits during the request."""
        response = self._streaming_handle.respond.remote(request)
        is_complete = False
        try:
            async for messages in response:
                yield messages
            is_complete = True
        except BackPressureError:
            raise OverloadedError("All replicas have as many requests as they accept.") from None
        except (DeploymentUnavailableError, ReplicaUnavailableError):
            raise EngineUnavailableError("no replica is running") from None
        except ray.exceptions.RayTaskError:
            raise  # an exception of the application
        except ray.exceptions.RayError as error:
            event(logger, logging.ERROR, "replica_lost", error=type(error).__name__)
            raise EngineDiedError("the replica ended while this request was running") from None
        finally:
            if not is_complete:
                response.cancel()

    async def broadcast(self, request: ForwardedRequest) -> Sequence[ReplicaResponse]:
        """Returns the responses of all running replicas."""
        broadcast = self._handle.broadcast("collect_response", request)
        responses: Sequence[ReplicaResponse] = await broadcast.results_async()
        return responses


def create_application(engine: EngineConfig, server: ServerConfig, cluster: ClusterConfig, n_cpus: int) -> Any:
    """Returns the argument of serve.run(). Each replica reserves `n_cpus` of its machine.

    target_ongoing_requests is n_slots, the number of requests that a replica runs concurrently: so Serve starts a replica if
    requests have to wait, and stops one if the rest would suffice.
    """
    n_most = engine.n_slots + engine.n_waiting_max
    replicas = serve.deployment(
        ReplicaActor,
        name="llm",
        ray_actor_options={"num_cpus": n_cpus},
        # One more than the engine accepts: then the engine refuses it, with a 429 and its retry-after.
        max_ongoing_requests=n_most + 1,
        max_queued_requests=n_most,
        graceful_shutdown_timeout_s=server.drain_s + 1,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        autoscaling_config=AutoscalingConfig(
            min_replicas=cluster.n_replicas,
            max_replicas=max(cluster.n_replicas, cluster.n_replicas_max),
            target_ongoing_requests=engine.n_slots,
            upscale_delay_s=UPSCALE_DELAY_S,
            downscale_delay_s=DOWNSCALE_DELAY_S,
        ),
        request_router_config=RequestRouterConfig(
            request_router_class=PlacementRouter,
            request_router_kwargs={"routing": cluster.routing, "neighbour_bytes": cluster.neighbour_bytes},
        ),
    )
    ingress = serve.deployment(
        serve.ingress()(IngressActor),
        name="ingress",
        num_replicas=cluster.n_ingresses,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=server.n_connections_max,
    )
    return ingress.bind(replicas.bind(engine, server), server)
