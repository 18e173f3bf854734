"""Lists over an engine that an event loop awaits: order, how many are open, errors, cancels."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from llmcore.errors import EngineError, LlmcoreError
from llmcore.library.async_lists import answer_list
from llmcore.library.jobs import Jobs, generate_jobs
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS
from llmcore.messages import Finished, GenerateRequest, TextPrompt, Usage
from llmcore.worker.generation import Generation

USAGE = Usage(n_prompt=1, n_cached=0, n_generated=1, queue_s=0, prefill_s=0, decode_s=0)


class Engine:
    """Answers each text with itself in capitals, after a turn of the loop; "never" never."""

    def __init__(self, fails_on: str = "") -> None:
        self.fails_on = fails_on
        self.open: set[str] = set()
        self.n_open_most = 0
        self.left: list[str] = []

    async def submit(self, request: GenerateRequest) -> Generation:
        assert isinstance(request.prompt, TextPrompt)
        text, generation = request.prompt.text, Generation(request.request_id, self._on_left)
        self.open.add(request.request_id)
        self.n_open_most = max(self.n_open_most, len(self.open))
        asyncio.get_running_loop().call_later(0.001 * len(text), self._answer, generation, text)
        return generation

    def _answer(self, generation: Generation, text: str) -> None:
        self.open.discard(generation.request_id)
        if text == self.fails_on:
            generation.put(EngineError("broken"))
        elif text != "never":
            generation.put(Finished(generation.request_id, text.upper(), "stop", USAGE))

    def _on_left(self, generation: Generation) -> None:
        self.left.append(generation.request_id)


def jobs_of(texts: list[str], **given: Any) -> Jobs:
    return generate_jobs(texts, None, PLAIN_DEFAULTS, given)


async def answered(engine: Engine, jobs: Jobs, n_open_max: int = 2) -> list[Any]:
    ids = itertools.count()
    return await answer_list(engine.submit, jobs, lambda: f"r{next(ids)}", n_open_max)


async def test_answers_come_in_order_and_so_many_are_open() -> None:
    engine = Engine()
    done: list[tuple[int, int]] = []
    jobs = jobs_of(["long text", "a", "bb", "c"], progress=lambda n_done, n: done.append((n_done, n)))
    assert [each.text for each in await answered(engine, jobs)] == ["LONG TEXT", "A", "BB", "C"]
    assert engine.n_open_most == 2
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    several = await answered(Engine(), jobs_of(["a", "b"], n=3), 8)
    assert [[choice.text for choice in each.choices] for each in several] == [["A"] * 3, ["B"] * 3]


async def test_an_error_ends_the_list_or_stays_in_its_place() -> None:
    engine = Engine(fails_on="bad")
    with pytest.raises(EngineError, match=r"^prompt\[1\]: broken") as caught:
        await answered(engine, jobs_of(["never", "bad", "a"]))
    assert caught.value.index == 1
    assert engine.left == ["r0"], "what was open is cancelled"
    first, second, third = await answered(Engine(fails_on="bad"), jobs_of(["a", "bad", "c"], errors="return"))
    assert (first.text, third.text) == ("A", "C")
    assert isinstance(second, LlmcoreError)


async def test_a_cancelled_task_cancels_all_of_the_list() -> None:
    engine = Engine()
    task = asyncio.create_task(answered(engine, jobs_of(["never", "never", "a"])))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(engine.left) == ["r0", "r1"]
