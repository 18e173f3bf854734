"""The two deployments on Ray Serve: the ingress that callers reach, and the replicas of the service behind it."""

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
from .forwarded import ForwardedRequest, ReplicaResponse
from .ingress import Ingress
from .replica import Replica
from .router import PlacementRouter

logger = logging.getLogger(__name__)

# The first start of a model on a machine measures it, which takes minutes with large ones; loading goes on meanwhile.
HEALTH_TIMEOUT_S = 30.0
# Scaling down loses a cache, and what it was warm for: not for a short lull.
DOWNSCALE_DELAY_S = 300.0
UPSCALE_DELAY_S = 10.0


class Llm:
    """A replica as an actor of Ray."""

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
        async for messages in self._replica.respond(request):
            yield messages

    async def whole(self, request: ForwardedRequest) -> ReplicaResponse:
        return await self._replica.whole(request)

    def check_health(self) -> None:
        self._replica.check()

    async def __del__(self) -> None:
        if hasattr(self, "_replica"):
            await self._replica.stop()


class Front:
    """The ingress as an actor of Ray. Serve asks it for its application once it is made."""

    def __init__(self, llm: DeploymentHandle, server: ServerConfig) -> None:
        log.configure(server.log_level)
        self._ingress = Ingress(ReplicaHandle(llm), server.max_body_bytes)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._ingress


class ReplicaHandle:
    """The way to the replicas, by a handle of Serve."""

    def __init__(self, llm: DeploymentHandle) -> None:
        self._streams = llm.options(stream=True)
        self._handle = llm

    async def one(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        response = self._streams.respond.remote(request)
        is_over = False
        try:
            async for messages in response:
                yield messages
            is_over = True
        except BackPressureError:
            raise OverloadedError("All replicas have as many requests as they take.") from None
        except (DeploymentUnavailableError, ReplicaUnavailableError):
            raise EngineUnavailableError("no replica is there to answer") from None
        except ray.exceptions.RayTaskError:
            raise  # the application's own
        except ray.exceptions.RayError as error:
            event(logger, logging.ERROR, "replica_lost", error=type(error).__name__)
            raise EngineDiedError("the replica ended while this request was running") from None
        finally:
            if not is_over:
                response.cancel()

    async def all(self, request: ForwardedRequest) -> Sequence[ReplicaResponse]:
        answers: Sequence[ReplicaResponse] = await self._handle.broadcast("whole", request).results_async()
        return answers


def application(engine: EngineConfig, server: ServerConfig, cluster: ClusterConfig, n_cpus: int) -> Any:
    """What serve.run() takes. `n_cpus` is what each replica reserves of its machine.

    Requests that wait are those beyond what all replicas run at a time: target_ongoing_requests is n_slots, so another replica
    is started where requests have to wait, and one is stopped where fewer would do.
    """
    n_most = engine.n_slots + engine.n_waiting_max
    llm = serve.deployment(
        Llm,
        name="llm",
        ray_actor_options={"num_cpus": n_cpus},
        # Beyond this the engine itself would refuse: a 429 that says when to come back.
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
    front = serve.deployment(
        serve.ingress()(Front),
        name="ingress",
        num_replicas=cluster.n_ingresses,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=server.n_connections_max,
    )
    return front.bind(llm.bind(engine, server), server)
