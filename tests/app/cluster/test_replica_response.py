"""Responses of replicas."""

from __future__ import annotations

from starlette.types import Message

from llmcore_app.cluster.replica_response import ReplicaResponse


def test_status_and_body_of_its_messages() -> None:
    start: Message = {"type": "http.response.start", "status": 404, "headers": []}
    bodies: list[Message] = [{"body": b"no"}, {}, {"body": b"ne"}]
    response = ReplicaResponse("a", (start, *bodies))
    assert (response.status, response.body) == (404, b"none")


def test_a_replica_that_sent_nothing_has_failed() -> None:
    assert (ReplicaResponse("a", ()).status, ReplicaResponse("a", ()).body) == (500, b"")
