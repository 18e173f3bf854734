"""An engine that threads share: short answers together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.errors import ClosedError, InvalidRequestError
from llmcore.library.events import TextReader
from llmcore.library.local_engine import LocalEngine
from llmcore.messages import TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import request


@pytest.fixture
def local(tiny_model: Path) -> Iterator[LocalEngine]:
    opened = LocalEngine(exact(tiny_model, n_ctx=512, n_slots=2))
    yield opened
    opened.close()


def test_answers_come_in_order_beside_an_open_stream(local: LocalEngine) -> None:
    stream = local.stream(request("stream", "sea", max_tokens=50, ignore_eos=True), TextReader())
    asked = [request(local.new_id(), TokensPrompt((100 + each,)), max_tokens=1) for each in range(7)]
    together = local.answer_all(asked)
    assert [each.request_id for each in together] == [each.request_id for each in asked]
    alone = [local.answer_all([request(local.new_id(), each.prompt, max_tokens=1)])[0].text for each in asked]
    assert [each.text for each in together] == alone
    assert sum(1 for _ in stream) > 10
    assert not local.engine.has_work


def test_one_that_is_refused_cancels_the_others(local: LocalEngine) -> None:
    good = [request(local.new_id(), TokensPrompt(tuple(range(100, 200))), max_tokens=1) for _ in range(3)]
    with pytest.raises(InvalidRequestError):
        local.answer_all([good[0], request(local.new_id(), TokensPrompt((10**6,)), max_tokens=1), *good[1:]])
    assert not local.engine.has_work


def test_a_closed_engine_answers_nothing(local: LocalEngine) -> None:
    local.close()
    assert local.is_closed
    for call in (lambda: local.answer_all([request("a", "sea")]), lambda: local.locked(lambda engine: engine.stats())):
        with pytest.raises(ClosedError):
            call()
