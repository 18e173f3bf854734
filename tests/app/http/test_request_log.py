"""The log of one request: its ids, and the tokens that it is charged for."""

from __future__ import annotations

import pytest

from llmcore.errors import EngineDiedError, LlmcoreError, OverloadedError
from llmcore_app.http.errors import ApiError
from llmcore_app.http.request_log import RequestLog


def attached(request_id: bytes | None = None) -> RequestLog:
    headers = [] if request_id is None else [(b"x-request-id", request_id)]
    scope = {"method": "POST", "path": "/x", "headers": headers}
    request_log = RequestLog.attach(scope, "/x")
    assert RequestLog.from_scope(scope) is request_log
    return request_log


def test_the_callers_id_is_taken_if_it_can_be_printed_and_is_short() -> None:
    assert attached(b"call-1").request_id == "call-1"
    for unusable in (None, b"", b"a b", b"a\n", b"\xff", b"x" * 129):
        request_log = attached(unusable)
        assert request_log.request_id == f"req-{request_log.unique}"


def test_two_requests_with_the_same_id_differ_in_the_engine() -> None:
    assert attached(b"a").unique != attached(b"a").unique


def test_a_prompt_is_charged_once_for_all_its_answers() -> None:
    request_log = attached()
    request_log.n_prompt, request_log.n_per_prompt, request_log.n_generated, request_log.n_text = 30, 3, 5, 2
    assert request_log.n_spent == 10 + 5 + 2


def test_a_computation_reserves_its_most_tokens() -> None:
    request_log, reserved = attached(), list[int]()
    request_log.reserve = reserved.append
    with request_log.charge(10, 25):
        assert request_log.n_spent == 10
    assert request_log.n_spent == 0
    with request_log.charge(10):
        pass
    assert reserved == [25, 10]


def test_a_refused_reservation_is_not_charged() -> None:
    request_log = attached()

    def refuse(n_tokens: int) -> None:
        raise ApiError(429, "rate_limit_exceeded", "too many")

    request_log.reserve = refuse
    with pytest.raises(ApiError), request_log.charge(10):
        pass
    assert request_log.n_spent == 0


@pytest.mark.parametrize(
    ("error", "n_spent"), [(OverloadedError("full"), 0), (EngineDiedError("died"), 0), (ValueError(), 10)]
)
def test_a_failed_computation_is_charged_if_the_engine_had_admitted_it(error: LlmcoreError, n_spent: int) -> None:
    request_log = attached()
    with pytest.raises(type(error)), request_log.charge(10):
        raise error
    assert request_log.n_spent == n_spent
