"""Output of a response: items and their ends, and log-probabilities, which are of the text alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.messages import CallDelta, Piece, TokenLogprob
from tests.app.answers.test_logprobs import TOKENS
from tests.app.answers.test_logprobs import script as hearts
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_responses import CALL, CALLING, CLOCK, post, streamed

LOGPROBS: dict[str, Any] = {"include": ["message.output_text.logprobs"]}
WORD, BLANK, *HEART = TOKENS


def logprob(token: str) -> TokenLogprob:
    return TokenLogprob(1, token.encode(), -0.5)


def parts(output: list[dict[str, Any]]) -> list[list[str]]:
    """Returns the tokens of each message that have log-probabilities."""
    return [
        [each["token"] for each in part["logprobs"]]
        for item in output
        if item["type"] == "message"
        for part in item["content"]
    ]


@pytest.mark.parametrize(
    ("fields", "n_logprobs"),
    [
        ({}, None),
        ({"include": ["reasoning.encrypted_content"], "top_logprobs": 0}, None),
        (LOGPROBS, 0),
        ({"include": ["reasoning.encrypted_content", *LOGPROBS["include"]], "top_logprobs": 20}, 20),
    ],
)
async def test_what_the_engine_is_asked_for(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], n_logprobs: int | None
) -> None:
    response = await post(client, **fields)
    assert response.status_code == 200
    assert engine.requests[-1].n_logprobs == n_logprobs
    assert response.json()["top_logprobs"] == (n_logprobs or 0)
    words = [word for word in WORDS if word] if n_logprobs is not None else []
    assert parts(response.json()["output"]) == [words]
    top = [each["top_logprobs"] for each in response.json()["output"][0]["content"][0]["logprobs"]]
    assert [len(each) for each in top] == [n_logprobs] * len(words)


@pytest.mark.parametrize("number", [5, 21, -1, True])
async def test_alternatives_without_logprobs_are_refused(client: httpx.AsyncClient, number: Any) -> None:
    response = await post(client, top_logprobs=number)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "top_logprobs")


async def test_whole_and_streamed(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = hearts
    found = await streamed(client, **LOGPROBS)
    part = (await post(client, **LOGPROBS)).json()["output"][0]["content"][0]
    assert part["logprobs"][0] == {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}],
    }
    assert [each["token"] for each in part["logprobs"]] == ["Hi", " ", "\ufffd", "\ufffd\ufffd"]
    kinds = {event["type"].removeprefix("response."): event for event in found}
    assert kinds["content_part.added"]["part"]["logprobs"] == []
    assert kinds["content_part.done"]["part"] == part
    assert kinds["output_item.done"]["item"]["content"] == [part]
    assert kinds["completed"]["response"]["output"][0]["content"] == [part]
    # Events have no bytes.
    short = [
        {
            "token": each["token"],
            "logprob": each["logprob"],
            "top_logprobs": [{"token": top["token"], "logprob": top["logprob"]} for top in each["top_logprobs"]],
        }
        for each in part["logprobs"]
    ]
    assert kinds["output_text.done"]["logprobs"] == short
    deltas = [event for event in found if event["type"] == "response.output_text.delta"]
    assert [(delta["delta"], len(delta["logprobs"])) for delta in deltas] == [("Hi", 1), (" \u2764", 3)]
    assert [each for delta in deltas for each in delta["logprobs"]] == short


async def test_only_tokens_of_the_text_are_told(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda _: [
        Piece("", "", 1, logprobs=(logprob("<think>"),)),
        Piece("", "", 1, "Hm.", logprobs=(logprob("Hm."),)),
        Piece("", "", 1, logprobs=(logprob("</think>"),)),
        Piece("", "Wait", 1, logprobs=(logprob("Wait"),)),
        Piece("", "", 1, logprobs=(logprob("<"),)),  # it could have begun a call
        Piece("", "<3", 1, logprobs=(logprob("3"),)),
        Piece("", "", 1, logprobs=(logprob("<call>"),)),
        Piece("", "", 1, calls=(CallDelta(0, id="c1", name="clock"),), logprobs=(logprob("clock"),)),
        Piece("", "", 1, calls=(CallDelta(0, arguments="{}"),), logprobs=(logprob("{}"),)),
        Piece("", "", 1, logprobs=(logprob("</call>"),)),
        Piece("", "Well", 1, logprobs=(logprob("Well"),)),
        Piece("", "", 1, logprobs=(logprob("\n"),)),  # at the end, without text
    ]
    found = await streamed(client, tools=[CLOCK], **LOGPROBS)
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "message"]
    assert parts(output) == [["Wait", "<", "3"], ["Well", "\n"]]
    deltas = [event for event in found if event["type"] == "response.output_text.delta"]
    assert [(delta["delta"], [each["token"] for each in delta["logprobs"]]) for delta in deltas] == [
        ("Wait", ["Wait"]),
        ("<3", ["<", "3"]),
        ("Well", ["Well"]),
        ("", ["\n"]),
    ]


@pytest.mark.parametrize("text", ["", "Hm."])
async def test_an_answer_that_says_nothing(client: httpx.AsyncClient, engine: FakeEngine, text: str) -> None:
    engine.script = lambda _: [Piece("", "", 1, text, logprobs=(logprob("x"),))]
    output = (await post(client, **LOGPROBS)).json()["output"]
    assert parts(output) == [[] if text else ["x"]]


async def test_an_answer_with_logprobs_can_be_sent_back(client: httpx.AsyncClient) -> None:
    output = (await post(client, top_logprobs=2, **LOGPROBS)).json()["output"]
    assert output[0]["content"][0]["logprobs"]
    response = await post(client, input=[{"role": "user", "content": "x"}, *output, CALL])
    assert response.status_code == 200, response.text


async def test_what_is_said_after_a_call_is_a_message_of_its_own(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: [*CALLING[:3], Piece("", "So.", 1, "", (CallDelta(0, arguments="1}"),))]
    output = (await streamed(client, tools=[CLOCK]))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "message"]
    assert output[2]["arguments"] == '{"zone": 1}'
    assert output[3]["content"][0]["text"] == "So."


@pytest.mark.parametrize(
    ("script", "reason", "output"),
    [
        ([], "stop", [("message", "completed")]),
        ([], "length", [("message", "incomplete")]),
        (CALLING[:1], "stop", [("reasoning", "completed"), ("message", "completed")]),
        (CALLING[:1], "length", [("reasoning", "incomplete")]),
        (
            CALLING[:3],
            "length",
            [("reasoning", "completed"), ("message", "completed"), ("function_call", "incomplete")],
        ),
    ],
    ids=str,
)
async def test_ends(client: httpx.AsyncClient, engine: FakeEngine, script: Any, reason: Any, output: Any) -> None:
    engine.script = lambda request: script
    engine.reason = reason
    status = "completed" if reason == "stop" else "incomplete"
    *_, item_done, last = await streamed(client)
    assert last["type"] == f"response.{status}"
    assert item_done["item"] == last["response"]["output"][-1]
    for response in (last["response"], (await post(client)).json()):
        assert response["status"] == status
        assert response["incomplete_details"] == (None if reason == "stop" else {"reason": "max_output_tokens"})
        assert [(item["type"], item["status"]) for item in response["output"]] == output
        assert (response["completed_at"] is None) == (reason == "length")
