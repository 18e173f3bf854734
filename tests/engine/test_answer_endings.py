"""Where an answer may end: tokens of the caller's choice, a least length, and what is shown of the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.engine.answer_endings import answer_endings
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError
from llmcore.messages import GenerateRequest, TextPrompt
from llmcore.sampling import SamplingParams
from tests.engine.engine_requests import STORY, SURE, chat, request, run


def wanted(**fields: object) -> GenerateRequest:
    return GenerateRequest(request_id="a", prompt=TextPrompt("x"), **fields)  # type: ignore[arg-type]


@given(st.integers(1, 200), st.data())
def test_the_mask_leaves_out_the_stop_tokens_and_nothing_else(n_vocab: int, data: st.DataObject) -> None:
    stops = data.draw(st.lists(st.integers(-3, 300), max_size=8))
    anything = np.full((n_vocab + 31) // 32, 0xFFFFFFFF, np.uint32)
    anything[0] &= ~np.uint32(1)  # token 0 is an end token
    for ignore_eos in (False, True):
        asked = wanted(stop_token_ids=tuple(stops), min_tokens=3, ignore_eos=ignore_eos)
        mask = answer_endings(asked, n_vocab, lambda: anything, has_call_grammar=False).mask
        assert mask is not None
        left_out = {token for token in range(n_vocab) if not mask[token // 32] >> token % 32 & 1}
        assert left_out == (set(stops) & set(range(n_vocab))) | (set() if ignore_eos else {0})
    assert anything[0] == 0xFFFFFFFE, "the mask of all requests is unchanged"


def test_without_a_least_length_there_is_no_mask() -> None:
    def never() -> None:
        raise AssertionError

    assert answer_endings(wanted(stop_token_ids=(5,)), 10, never, has_call_grammar=True).mask is None  # type: ignore[arg-type]


def test_a_least_length_contradicts_the_grammar_of_a_call() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        answer_endings(wanted(min_tokens=1), 10, lambda: np.zeros(1, np.uint32), has_call_grammar=True)
    assert caught.value.param == "min_tokens"


def test_an_answer_has_its_least_length(engine: Engine) -> None:
    short = run(engine, request("a", chat(*SURE), max_tokens=200))["a"]
    n = short.usage.n_generated
    assert short.reason == "stop"
    long = run(engine, request("b", chat(*SURE), max_tokens=n + 30, min_tokens=n + 10))["b"]
    assert long.text.startswith(short.text)
    assert long.usage.n_generated >= n + 10
    same = run(engine, request("c", chat(*SURE), max_tokens=200, min_tokens=n - 1))["c"]
    assert (same.text, same.usage.n_generated) == (short.text, n), "a length that it has anyway changes nothing"


@pytest.mark.parametrize(
    "sampling", [SamplingParams(seed=3), SamplingParams(seed=3, typical_p=0.9)], ids=["fast", "chain"]
)
def test_a_drawn_answer_has_it_too(tiny_engine: Engine, sampling: SamplingParams) -> None:
    """Half of the vocabulary are stop tokens: without a least length the answers are short."""
    stops = tuple(range(0, tiny_engine.model.n_vocab, 2))
    tokens = {"stop_token_ids": stops, "sampling": sampling, "max_tokens": 60}
    short, long = (run(tiny_engine, request("a", "sea", min_tokens=n, **tokens))["a"] for n in (0, 40))
    assert short.reason == "stop"
    assert short.usage.n_generated < 40 < long.usage.n_generated


def test_a_stop_string_before_the_least_length_is_passed_over(tiny_engine: Engine) -> None:
    whole = run(tiny_engine, request("a", STORY, ignore_eos=True))["a"].text
    early, late = whole[1:3], whole[-4:-1]
    asked = {"stop": (early, late), "ignore_eos": True}
    cut, long = (run(tiny_engine, request("b", STORY, min_tokens=n, **asked))["b"] for n in (0, 20))
    assert cut.text == whole[: whole.find(early)]
    assert long.usage.n_generated >= 20
    assert whole.startswith(long.text)


def test_a_stop_token_ends_the_answer_and_is_shown_if_asked(engine: Engine) -> None:
    whole = run(engine, request("a", STORY))["a"].text
    tokens = engine.model.tokenize(whole, add_special=False)
    token = next(each for each in tokens[3:] if each not in tokens[:3])
    before = engine.model.detokenize(tokens[: tokens.index(token)])
    asked = {"stop_token_ids": (token, 10**9, -5)}
    hidden, shown = (run(engine, request("b", STORY, shows_stop=shows, **asked))["b"] for shows in (False, True))
    assert (hidden.text, hidden.reason) == (before, "stop")
    assert shown.text == before + engine.model.detokenize([token])
    assert run(engine, request("c", STORY, ignore_eos=True, **asked))["c"].text == before, "as in vLLM"


def test_a_stop_string_is_shown_if_asked(engine: Engine) -> None:
    whole = run(engine, request("a", STORY))["a"].text
    stop = whole[10:16]
    answer = run(engine, request("b", STORY, stop=(stop,), shows_stop=True))["b"]
    assert answer.text == whole[: whole.find(stop) + len(stop)]


def test_special_tokens_are_shown_if_asked(engine: Engine) -> None:
    prompt = chat(*SURE)
    plain = run(engine, request("a", prompt, max_tokens=200))["a"]
    more = {"max_tokens": plain.usage.n_generated + 4, "ignore_eos": True}
    hidden, shown = (
        run(engine, request("b", prompt, shows_special_tokens=shows, **more))["b"] for shows in (False, True)
    )
    assert "<|im_end|>" not in hidden.text
    assert shown.text.startswith(plain.text + "<|im_end|>")
    assert shown.text.replace("<|im_end|>", "").replace("<|im_start|>", "") == hidden.text
    end = run(engine, request("c", prompt, max_tokens=200, shows_special_tokens=True, shows_stop=True))["c"]
    assert (end.text, end.reason) == (plain.text + "<|im_end|>", "stop")
    assert run(engine, request("d", prompt, max_tokens=200, shows_special_tokens=True))["d"].text == plain.text
