"""Answers, put together from the engine's outputs."""

from __future__ import annotations

import httpx
import pytest

from llmcore.messages import CallDelta, Finished, FinishReason, Piece, Usage
from llmcore_app.answers.answer import AnswerChoice
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import TEXT, events, post


async def test_text_that_was_held_back_comes_with_the_end(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.held_back = " STO"
    engine.reason = "length"
    *_, text, end, _ = events((await post(client, stream=True)).text)
    assert text["choices"][0]["delta"]["content"] == " STO"
    assert end["choices"][0]["finish_reason"] == "length"
    whole = (await post(client)).json()["choices"][0]
    assert whole["message"]["content"] == TEXT + " STO"
    assert whole["finish_reason"] == "length"


USAGE = Usage(n_prompt=1, n_cached=0, n_generated=2, queue_s=0.0, prefill_s=0.0, decode_s=0.0)


def test_a_choice_is_the_sum_of_its_outputs() -> None:
    choice = AnswerChoice()
    calls = (CallDelta(0, id="c1", name="clock"), CallDelta(0, arguments="{"))
    for piece in (
        Piece("", "a", 1, "Hm"),
        Piece("", "", 1, ".", calls),
        Piece("", "", 1, "", (CallDelta(0, arguments="}"),)),
    ):
        choice.add(piece)
    choice.add(Finished("", "b", "stop", USAGE))
    assert (choice.text, choice.reasoning, choice.usage) == ("ab", "Hm.", USAGE)
    assert [(call.name, call.arguments) for call in choice.tool_calls] == [("clock", "{}")]


CALL = CallDelta(0, id="c1", name="clock")


@pytest.mark.parametrize(
    ("reason", "calls", "finish_reason"),
    [("stop", (), "stop"), ("stop", (CALL,), "tool_calls"), ("length", (CALL,), "length")],
)
def test_a_call_that_was_finished_is_the_reason(
    reason: FinishReason, calls: tuple[CallDelta, ...], finish_reason: str
) -> None:
    choice = AnswerChoice()
    choice.add(Piece("", "", 1, "", calls))
    choice.add(Finished("", "", reason, USAGE))
    assert choice.finish_reason == finish_reason
