"""LLM: the library's front door."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcore import LLM, Completion
from llmcore.errors import (
    ClosedError,
    ContextLengthError,
    InvalidRequestError,
    LlmcoreError,
    LogitsProcessorError,
    ModelMissingError,
)
from tests.conftest import SURE_QUESTION, SURE_SYSTEM

STORY = "Once upon a time"


@pytest.fixture(scope="module")
def precise(tiny_model: Path) -> Iterator[LLM]:
    """Gibberish, but the same whether its prompt is cached or not: nothing rounds."""
    with LLM(tiny_model, n_ctx=1024, flash_attn="off", cache_type_k="f32", cache_type_v="f32") as loaded:
        yield loaded


def test_generate_whole_and_streamed_give_the_same_text(precise: LLM) -> None:
    whole = precise.generate(STORY, temperature=0, max_tokens=20)
    assert isinstance(whole, Completion)
    assert whole.finish_reason == "length"
    assert whole.usage.n_generated == 20
    pieces = list(precise.generate(STORY, temperature=0, max_tokens=20, stream=True))
    assert len(pieces) > 5
    assert "".join(pieces) == whole.text == str(whole)


def test_token_ids_are_a_prompt_too(chatty: LLM, precise: LLM) -> None:
    tokens = chatty.tokenize(STORY)
    assert chatty.detokenize(tokens) == STORY
    by_ids = precise.generate(precise.tokenize(STORY), temperature=0, max_tokens=8)
    assert by_ids.text == precise.generate(STORY, temperature=0, max_tokens=8).text


def test_chat(chatty: LLM) -> None:
    messages = [
        {"role": "system", "content": SURE_SYSTEM},
        {"role": "user", "content": SURE_QUESTION},
    ]
    answer = chatty.chat(messages, temperature=0, max_tokens=40)
    assert "Bruno" in answer.text
    assert answer.finish_reason == "stop"
    assert "Bruno" in "".join(chatty.chat(messages, temperature=0, max_tokens=40, stream=True))


def test_two_streams_in_turns(precise: LLM) -> None:
    first = precise.generate(STORY, temperature=0, max_tokens=12, stream=True)
    second = precise.generate("The sea is", temperature=0, max_tokens=12, stream=True)
    texts = ["", ""]
    for a, b in zip(first, second, strict=False):
        texts[0] += a
        texts[1] += b
    texts[0] += "".join(first)
    texts[1] += "".join(second)
    assert texts[0].startswith(precise.generate(STORY, temperature=0, max_tokens=8).text)
    assert all(texts)


def test_threads_share_one_model(chatty: LLM) -> None:
    answers: dict[int, str] = {}

    def ask(i: int) -> None:
        answers[i] = chatty.generate(f"{i} plus {i} is", temperature=0, max_tokens=10).text

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(6))
    assert all(answers.values())


def test_closing_a_stream_cancels_it(chatty: LLM) -> None:
    running = chatty.generate(STORY, max_tokens=1000, stream=True)
    next(running)
    running.close()
    running.close()
    assert not chatty.engine.has_work
    with pytest.raises(StopIteration):
        next(running)


def test_a_stream_that_is_dropped_is_cancelled(chatty: LLM) -> None:
    chatty.generate(STORY, max_tokens=1000, stream=True)
    assert not chatty.engine.has_work


def test_a_stream_tells_how_it_finished(chatty: LLM) -> None:
    stream = chatty.generate(STORY, max_tokens=5, stream=True)
    next(stream)
    before = stream.finished
    list(stream)
    after = stream.finished
    assert before is None
    assert after is not None
    assert (after.reason, after.usage.n_generated) == ("length", 5)


def test_stop_may_be_one_string_or_several(precise: LLM) -> None:
    whole = precise.generate(STORY, temperature=0, max_tokens=20).text
    stop = whole[8:12]
    assert precise.generate(STORY, temperature=0, max_tokens=20, stop=stop).text == whole[: whole.find(stop)]
    assert precise.generate(STORY, temperature=0, max_tokens=20, stop=["@@@", stop]).finish_reason == "stop"


def test_bad_arguments_are_named(chatty: LLM) -> None:
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: chatty.generate(STORY, temperatur=1), "temperatur"),  # type: ignore[call-overload]
        (lambda: chatty.generate(STORY, top_p=7), "top_p"),
        (lambda: chatty.chat([]), "messages"),
        (lambda: chatty.generate(""), "prompt"),
        (lambda: chatty.generate(STORY, max_tokens=0), "max_tokens"),
    ]
    for call, named in calls:
        with pytest.raises(InvalidRequestError) as caught:
            call()
        assert caught.value.param == named
    with pytest.raises(ContextLengthError):
        chatty.generate("word " * 3000)
    assert not chatty.engine.has_work


def test_options_are_checked(default_model: Path) -> None:
    with pytest.raises(InvalidRequestError, match="n_contxt"):
        LLM(default_model, n_contxt=5)  # type: ignore[call-arg]
    with pytest.raises(LlmcoreError, match="n_slots"):
        LLM(default_model, n_slots=0)


def test_without_a_model_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelMissingError, match="llmcore pull"):
        LLM()


def test_a_closed_llm_is_an_error_and_not_a_crash(tiny_model: Path) -> None:
    closed = LLM(tiny_model, n_ctx=256)
    stream = closed.generate([100, 101], stream=True)
    next(stream)
    closed.close()
    closed.close()
    with pytest.raises(ClosedError):
        list(stream)
    with pytest.raises(ClosedError):
        closed.generate([100])
    with pytest.raises(ClosedError):
        closed.tokenize("a")


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "clock",
            "parameters": {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]},
        },
    },
    {"type": "function", "function": {"name": "off"}},
]
ASKED = [{"role": "user", "content": "What time is it?"}]


def test_tools(chatty: LLM) -> None:
    named = {"type": "function", "function": {"name": "clock"}}
    whole = chatty.chat(ASKED, tools=TOOLS, tool_choice=named, temperature=0, max_tokens=80)
    [call] = whole.tool_calls
    assert (call.name, json.loads(call.arguments)["zone"] in ("UTC", "CET"), whole.text) == ("clock", True, "")
    stream = chatty.chat(
        ASKED, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=80, stream=True
    )
    assert "".join(stream) == ""
    assert [each.name for each in stream.parts.tool_calls] in (["clock"], ["off"])
    message = {"id": call.id, "type": "function", "function": {"name": "clock", "arguments": call.arguments}}
    answered: list[dict[str, Any]] = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [message]},
        {"role": "tool", "tool_call_id": call.id, "content": "9"},
    ]
    assert chatty.chat(answered, tools=TOOLS, tool_choice="none", max_tokens=8).tool_calls == ()


def test_an_answer_goes_on(chatty: LLM) -> None:
    begun = [*ASKED, {"role": "assistant", "content": "It is"}]
    assert chatty.chat(begun, continue_final_message=True, max_tokens=4, temperature=0).text.startswith(" ")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": object()}}]}, "tools"),
        ({"chat_template_kwargs": [1]}, "chat_template_kwargs"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"continue_final_message": True}, "continue_final_message"),
    ],
)
def test_chat_arguments_are_refused_by_name(chatty: LLM, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        chatty.chat(ASKED, max_tokens=1, **options)
    assert refused.value.param == param


def test_a_file_whose_name_and_metadata_are_not_utf_8(tiny: Callable[..., Path], tmp_path: Path) -> None:
    data = tiny("marked", chat_template="{{ messages[0]['content'] }} MARK").read_bytes()
    for text, same_length in (
        (b"MARK", b"\xff\xfeK\xe9"),
        (b"tiny, random weights", b"\xc3iny, random weights"),
        (b"</s>", b"<\xff\xfe>"),
    ):
        assert text in data
        data = data.replace(text, same_length, 1)
    path = tmp_path / os.fsdecode(b"m\xff.gguf")
    path.write_bytes(data)
    for given in (path, os.fsencode(path), str(path)):
        with LLM(given, n_ctx=256, flash_attn="off", cache_type_k="f16", cache_type_v="f16") as opened:
            assert opened.model.metadata["general.name"] == "\ufffdiny, random weights"
            assert opened.model.chat_template == "{{ messages[0]['content'] }} \ufffd\ufffdK\ufffd"
            assert "<\ufffd\ufffd>" in opened.model.detokenize(range(10), unparse_special=True)
            assert opened.chat([{"role": "user", "content": "a"}], max_tokens=2).text.encode()


def test_log_probabilities_of_a_prompt(chatty: LLM) -> None:
    answer = chatty.generate(STORY, prompt_logprobs=2, max_tokens=2)
    assert [each.token for each in answer.prompt_logprobs] == chatty.tokenize(STORY)[1:]
    assert all(len(each.top) == 2 for each in answer.prompt_logprobs)
    assert chatty.chat(ASKED, prompt_logprobs=0, max_tokens=2).prompt_logprobs
    assert chatty.generate(STORY, max_tokens=2).prompt_logprobs == ()
    with pytest.raises(InvalidRequestError) as caught:
        chatty.generate(STORY, prompt_logprobs=21)
    assert caught.value.param == "prompt_logprobs"


def test_logits_are_changed_by_a_function(chatty: LLM) -> None:
    wanted = chatty.tokenize(" cat", add_special=False)[0]

    def only_cats(tokens: Any, logits: Any) -> Any:
        logits[:] = -np.inf
        logits[wanted] = 0
        return logits

    assert chatty.generate(STORY, logits_processor=only_cats, max_tokens=3).text == " cat cat cat"
    assert chatty.chat(ASKED, logits_processors=[only_cats, only_cats], max_tokens=2).text == " cat cat"
    with pytest.raises(LogitsProcessorError, match="ZeroDivisionError"):
        chatty.generate(STORY, logits_processor=lambda tokens, logits: 1 / 0)
    with pytest.raises(LogitsProcessorError, match="cannot use the engine"):
        chatty.generate(STORY, logits_processor=lambda tokens, logits: chatty.generate("a"))
    with pytest.raises(InvalidRequestError) as caught:
        chatty.generate(STORY, logits_processor=5)  # type: ignore[call-overload]
    assert caught.value.param == "logits_processor"
    assert not chatty.engine.has_work


def test_messages_as_the_template_writes_them(chatty: LLM) -> None:
    text = chatty.render(ASKED)
    assert ASKED[0]["content"] in text
    tokens = chatty.tokenize(text, add_special=False, parse_special=True)
    assert chatty.chat(ASKED, max_tokens=1).usage.n_prompt == len(tokens)
    begun = [*ASKED, {"role": "assistant", "content": "It is"}]
    assert chatty.render(begun, continue_final_message=True).endswith("It is")
    with pytest.raises(InvalidRequestError) as caught:
        chatty.render(ASKED, temperature=1)  # type: ignore[call-arg]
    assert caught.value.param == "temperature"


def test_counts(chatty: LLM) -> None:
    before = chatty.stats()
    n = chatty.generate(STORY, max_tokens=4).usage.n_generated
    assert chatty.stats().n_tokens_generated == before.n_tokens_generated + n


def test_models_by_name(default_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIR", str(default_model.parent))
    with LLM("smollm2-135m-instruct", n_ctx=256) as llm:
        assert Path(llm.model.path) == default_model
    with pytest.raises(ModelMissingError, match=r"`llmcore pull llama-3\.1-8b-instruct`"):
        LLM("llama-3.1-8b-instruct")
    with pytest.raises(InvalidRequestError) as caught:
        LLM(default_model, pull="yes")  # type: ignore[arg-type]
    assert caught.value.param == "pull"


def test_an_llm_stays_where_it_is_and_its_answers_may_leave(precise: LLM) -> None:
    for leave in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="load it in each one"):
            leave(precise)
    answer = precise.generate(STORY, max_tokens=3, logprobs=1)
    assert pickle.loads(pickle.dumps(answer)) == copy.deepcopy(answer) == answer
