"""Requests in flight, by their ids and keys."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from llmcore_app.service.in_flight import InFlight


@dataclass(eq=False)
class Request:
    ids: tuple[str, ...]
    key: str = ""
    has_ended: bool = False
    cancels: list[bool] = field(default_factory=list)

    async def cancel(self) -> bool:
        self.cancels.append(not self.has_ended)
        return not self.has_ended


@pytest.mark.parametrize("id", ["answer-1", "call"])
async def test_each_id_of_a_request_cancels_it(id: str) -> None:
    requests, request = InFlight(), Request(("answer-1", "call"))
    requests.add(request)
    assert await requests.cancel(id) == 1
    assert request.cancels == [True]


async def test_all_requests_with_the_id_are_cancelled_and_those_that_had_not_ended_count() -> None:
    requests = InFlight()
    same = [Request(("call",)), Request(("call",)), Request(("call",), has_ended=True)]
    other = Request(("other",))
    for each in (*same, other):
        requests.add(each)
    assert await requests.cancel("call") == 2
    assert [each.cancels for each in same] == [[True], [True], [False]]
    assert other.cancels == []


async def test_another_keys_requests_are_left_alone() -> None:
    requests, request = InFlight(), Request(("call",), key="ann")
    requests.add(request)
    assert await requests.cancel("call", "bob") == await requests.cancel("call") == 0
    assert await requests.cancel("call", "ann") == 1


async def test_a_discarded_request_is_not_found() -> None:
    requests, request = InFlight(), Request(("call",))
    requests.add(request)
    requests.discard(request)
    requests.discard(request)
    assert await requests.cancel("call") == 0
