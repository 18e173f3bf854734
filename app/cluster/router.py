"""Placement as a request router of Ray Serve."""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from .affinity import NEIGHBOUR_BYTES, Affinity
from .forwarded_request import ForwardedRequest
from .placement import Placement, Routing
from .prompt_fingerprint import PromptFingerprint


class PlacementRouter(RequestRouter):
    """Routes by a Placement. `initialize_state` gets RequestRouterConfig.request_router_kwargs."""

    def initialize_state(self, routing: Routing = "affinity", neighbour_bytes: int = NEIGHBOUR_BYTES, **_: Any) -> None:
        self._placement = Placement(Affinity(neighbour_bytes=neighbour_bytes), routing)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Returns each replica in a rank of its own, so that Serve tries the next one if a replica is full."""
        if pending_request is None:
            return [candidate_replicas]
        # The ranks contain all replicas. Without a backoff, Serve would retry in a busy loop if all of them are full.
        pending_request.routing_context.should_backoff = True
        by_name = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        order = self._placement.choose(
            pending_request.metadata.internal_request_id,
            _fingerprint(pending_request.args),
            list(by_name),
            pending_request.future.done,
        )
        return [[by_name[name]] for name in order]

    def on_send_request(self, replica_id: ReplicaID) -> None:
        super().on_send_request(replica_id)
        self._placement.add_sent(replica_id.unique_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        super().on_request_completed(replica_id, internal_request_id)
        self._placement.remove_sent(replica_id.unique_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._placement.set_replicas([replica.replica_id.unique_id for replica in replicas])


def _fingerprint(args: list[Any]) -> PromptFingerprint:
    return args[0].fingerprint if args and isinstance(args[0], ForwardedRequest) else PromptFingerprint()
