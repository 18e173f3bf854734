"""Lists of prompts, answered together by a real engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore import LLM
from llmcore.errors import ContextLengthError, InvalidRequestError, LlmcoreError, OverloadedError
from llmcore.sampling import SamplingParams

N_SLOTS = 4


@pytest.fixture(scope="module")
def precise(tiny_model: Path) -> Iterator[LLM]:
    """An engine that computes in 32 bits; almost nothing may wait in it."""
    exact: dict[str, Any] = {"flash_attn": "off", "cache_type_k": "f32", "cache_type_v": "f32"}
    with LLM(tiny_model, n_ctx=2048, n_slots=N_SLOTS, n_waiting_max=1, n_waiting_tokens_max=60, **exact) as loaded:
        yield loaded


def prompts(n: int) -> list[str]:
    return [f"{i} times {i} and then {'again ' * (i % 7)}" for i in range(n)]


def test_a_list_gives_the_answers_that_its_prompts_get_alone(precise: LLM) -> None:
    asked = prompts(20)
    # Weights of 32 bits are multiplied by ggml, whose last bit depends on the step: a choice among few tokens bears that.
    params = [SamplingParams(seed=i, top_k=5) for i in range(20)]
    together = precise.generate(asked, params, max_tokens=9)
    assert [each.text for each in together] == [
        precise.generate(prompt, own, max_tokens=9).text for prompt, own in zip(asked, params, strict=True)
    ]
    assert {each.usage.n_generated for each in together} == {9}
    assert {len(each.token_ids) for each in together} == {9}
    assert not precise.engine.has_work


def test_a_list_is_computed_together_and_fills_no_queue(precise: LLM) -> None:
    """The queue has room for one request, and the list for many more."""
    n_steps = precise.engine.stats().n_steps
    precise.generate(prompts(16), max_tokens=20, temperature=0, ignore_eos=True)
    assert precise.engine.stats().n_steps - n_steps < 16 * 20 / 2


def test_a_list_waits_for_the_requests_of_others(precise: LLM) -> None:
    running = [precise.generate([3, 4, i], max_tokens=40, stream=True, ignore_eos=True) for i in range(N_SLOTS + 1)]
    next(running[0])
    with pytest.raises(OverloadedError):
        precise.generate([5], max_tokens=1)
    assert [each.finish_reason for each in precise.generate(prompts(3), max_tokens=4)] == ["length"] * 3
    for each in running:
        assert each.completion.usage.n_generated == 40


def test_lists_of_threads_and_a_stream_share_the_engine(precise: LLM) -> None:
    alone = [each.text for each in precise.generate(prompts(8), max_tokens=8, temperature=0)]
    found: dict[int, list[str]] = {}

    def ask(i: int) -> None:
        found[i] = [each.text for each in precise.generate(prompts(8), max_tokens=8, temperature=0)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    streamed = precise.generate(prompts(1), max_tokens=8, temperature=0)
    for thread in threads:
        thread.join()
    assert list(found.values()) == [alone] * 3
    assert streamed[0].text == alone[0]


def test_several_answers_to_each_prompt(precise: LLM) -> None:
    answers = precise.generate(prompts(3), n=3, seed=7, max_tokens=8)
    assert [len(each.choices) for each in answers] == [3, 3, 3]
    assert len({each.text for each in answers[0].choices}) == 3
    for choice, answer in enumerate(answers[1].choices):
        assert answer.text == precise.generate(prompts(3)[1], seed=7 + choice, max_tokens=8).text
    single = precise.generate(prompts(2)[1], n=2, seed=7, max_tokens=8)
    assert [each.text for each in single.choices] == [each.text for each in answers[1].choices[:2]]


def test_an_error_ends_the_list_before_anything_is_computed(precise: LLM) -> None:
    n_steps = precise.engine.stats().n_steps
    with pytest.raises(ContextLengthError, match=r"^prompt\[2\]: ") as caught:
        precise.generate(["a", "b", "w " * 3000, "d"], max_tokens=2)
    assert (caught.value.index, caught.value.param) == (2, "prompt[2]")
    assert precise.engine.stats().n_steps == n_steps
    with pytest.raises(InvalidRequestError, match="regular expression") as refused:
        precise.generate(["a", "b"], regex="(")
    assert refused.value.param == "regex"
    assert not precise.engine.has_work


def test_errors_stand_in_their_place(precise: LLM) -> None:
    first, second, third = precise.generate(["a", "w " * 3000, [-5]], max_tokens=2, errors="return")
    assert not isinstance(first, LlmcoreError)
    assert first.usage.n_generated == 2
    assert isinstance(second, ContextLengthError)
    assert isinstance(third, InvalidRequestError)
    assert (second.index, third.index) == (1, 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_cancels_the_list(precise: LLM, error: type[BaseException]) -> None:
    def interrupt(n_done: int, n: int) -> None:
        assert n == 12
        raise error

    with pytest.raises(error):
        precise.generate(prompts(12), max_tokens=5, progress=interrupt)
    assert not precise.engine.has_work


def test_conversations_of_the_default_model(default_model: Path) -> None:
    with LLM(default_model, n_ctx=2048) as chatty:
        asked = [[{"role": "user", "content": f"What is {i} plus {i}?"}] for i in range(5)]
        answers = chatty.chat(asked, max_tokens=12, temperature=0)
        assert len(answers) == 5
        assert all(each.text for each in answers)
        second = chatty.chat([*asked[0], answers[0], {"role": "user", "content": "Sure?"}], max_tokens=8)
        assert second.usage.n_prompt > answers[0].usage.n_prompt + len(answers[0].token_ids)
