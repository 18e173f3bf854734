"""Scenarios of a voice bot's callers, one function for each; it yields named figures.

A server is started for each scenario, with an empty cache. Prompts depend only on the scenario's name, turn and seed, so every
side gets the same bytes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Goal, Row, percentile, silences
from benchmarks.load import Answer, Endpoint, LoadError, Prompt
from benchmarks.prompts import Prompts

# Cells are allocated in blocks of this size (llama-server rounds up to it).
CELLS_STEP = 256
SIZE_MIN = 6


@dataclass(frozen=True)
class Outcome:
    """Figures of one scenario; `answers` are those whose time to first text counts."""

    figures: dict[str, float]
    answers: list[Answer]


@dataclass(frozen=True)
class Stage:
    """Environment of a scenario: a service, and its prompts. Prompts of different `salt` have no common prefix. `scale` shrinks all
    sizes, for a smoke test."""

    salt: str
    endpoint: Endpoint
    prompts: Prompts
    n_slot_cells: int
    scale: float = 1.0

    def size(self, n: int) -> int:
        return scaled(n, self.scale)

    def prompt(self, n_tokens: int, *salt: object) -> Prompt:
        return self.prompts.make(self.size(n_tokens), self.salt, *salt)

    async def ask(self, prompt: Prompt, n_answer: int) -> Answer:
        return await self.endpoint.ask(prompt, self.size(n_answer))

    async def warm_up(self) -> None:
        """Sends a first request, so that weights are in memory on both sides."""
        await self.ask(self.prompt(32, "warm-up"), 4)


def scaled(n: int, scale: float) -> int:
    return max(round(n * scale), min(n, SIZE_MIN))


async def single(stage: Stage, n_prompt: int, n_answer: int, n_repeats: int) -> Outcome:
    """One caller at a time."""
    answers = []
    for i in range(n_repeats):
        answers.append(await stage.ask(stage.prompt(n_prompt, i), n_answer))
    ttft_s = percentile([answer.ttft_s for answer in answers], 50)
    return Outcome({"ttft_s": ttft_s, "decode_tps": percentile([each.decode_tps for each in answers], 50)}, answers)


async def shared_prefix(stage: Stage, n_callers: int) -> Outcome:
    """Callers at once with one long common prefix and a question each."""
    prefix = stage.prompt(2000, "prefix")
    prompts = [stage.prompts.extend(prefix, stage.size(30), stage.salt, i) for i in range(n_callers)]
    answers = list(await asyncio.gather(*(stage.ask(prompt, 32) for prompt in prompts)))
    waits = [answer.ttft_s for answer in answers]
    figures = {"ttft_p50_s": percentile(waits, 50), "ttft_p95_s": percentile(waits, 95), "total_s": _total_s(answers)}
    return Outcome(figures, answers)


async def short_prompts(stage: Stage, n_callers: int) -> Outcome:
    """Callers at once without a common prefix."""
    prompts = [stage.prompt(40, i) for i in range(n_callers)]
    answers = list(await asyncio.gather(*(stage.ask(prompt, 64) for prompt in prompts)))
    return Outcome({"output_tps": sum(answer.n_answer for answer in answers) / _total_s(answers)}, answers)


async def interrupted(stage: Stage) -> Outcome:
    """Two streams are active when a long prompt arrives."""
    prompts = [stage.prompt(40, "talking", i) for i in range(2)]
    # The longest answers that fit: they must still be active when the long prompt is computed.
    n_talk = stage.n_slot_cells - prompts[0].n_tokens - 8
    talking = [await stage.endpoint.start(prompt.text, n_talk) for prompt in prompts]
    try:
        await asyncio.gather(*(call.arrived(8) for call in talking))
        newcomer = await stage.ask(stage.prompt(2000, "newcomer"), 16)
        has_ended = [call.has_ended for call in talking]
    finally:
        for call in talking:
            call.hang_up()
    streams = [call.answer(is_whole=False).times_s for call in talking]
    for times, is_over in zip(streams, has_ended, strict=True):
        if is_over and times[-1] < newcomer.times_s[0]:
            raise LoadError(
                f"a stream ended, after {len(times)} of {n_talk} tokens, before the long prompt was answered"
            )
    gaps = [gap for times in streams for gap in silences(times, newcomer.asked_s, newcomer.times_s[-1])]
    figures = {"gap_max_s": max(gaps), "gap_p99_s": percentile(gaps, 99), "ttft_s": newcomer.ttft_s}
    return Outcome(figures, [newcomer])


async def hang_ups(stage: Stage, n_repeats: int) -> Outcome:
    """A caller hangs up while its long prompt is computed; another one calls a moment later."""
    answers = []
    for i in range(n_repeats):
        call = await stage.endpoint.start(stage.prompt(2000, "gone", i).text, stage.size(64))
        await asyncio.sleep(1.0 * stage.scale)
        call.hang_up()
        await call.ended()
        call.answer(is_whole=False)  # raises if it was refused
        await asyncio.sleep(0.2)
        answers.append(await stage.ask(stage.prompt(20, "next", i), 16))
    return Outcome({"ttft_s": percentile([answer.ttft_s for answer in answers], 50)}, answers)


async def conversations(stage: Stage, n_conversations: int, n_turns: int) -> Outcome:
    """More conversations than slots. They run concurrently; the turns of each follow each other."""
    n_answer = stage.size(32)

    async def converse(i: int) -> list[Answer]:
        prompt, answers = stage.prompt(600, i), []
        for turn in range(n_turns):
            answers.append(await stage.endpoint.ask(prompt, n_answer))
            said = stage.prompts.with_answer(prompt, n_answer)
            prompt = stage.prompts.extend(said, stage.size(80), stage.salt, i, turn)
        return answers

    talks = await asyncio.gather(*(converse(i) for i in range(n_conversations)))
    later = [answer.ttft_s for answers in talks for answer in answers[1:]]
    every = [answer for answers in talks for answer in answers]
    figures = {"total_s": _total_s(every), "ttft_later_p50_s": percentile(later, 50)}
    return Outcome(figures, every)


def _total_s(answers: list[Answer]) -> float:
    """Seconds from the first request to the last token of all."""
    return max(answer.times_s[-1] for answer in answers) - min(answer.asked_s for answer in answers)


@dataclass(frozen=True)
class Scenario:
    """A scenario; `n_slot_tokens` is its longest sequence, the number of cells that every slot needs."""

    name: str
    title: str
    play: Callable[[Stage], Awaitable[Outcome]]
    rows: tuple[Row, ...]
    n_slots: int = 8
    n_slot_tokens: int = 2300
    model: Literal["main", "default"] = "main"
    is_long: bool = False  # minutes and minutes with a peer

    def n_slot_cells(self, scale: float) -> int:
        return CELLS_STEP * math.ceil(scaled(self.n_slot_tokens, scale) / CELLS_STEP)


def _ttft(label: str = "TTFT", figure: str = "ttft_s", goal: Goal | None = None) -> Row:
    return Row(figure, label, "s", goal)


def _decode(goal: Goal) -> Row:
    return Row("decode_tps", "decode", "tok/s", goal)


def _prefix_rows(p50: Goal | None = None, total: Goal | None = None) -> tuple[Row, ...]:
    return (
        _ttft("TTFT p50", "ttft_p50_s", p50),
        _ttft("TTFT p95", "ttft_p95_s"),
        Row("total_s", "makespan", "s", total),
    )


SCENARIOS = (
    Scenario(
        "single",
        "one stream, 300-token prompt",
        lambda stage: single(stage, 300, 64, 3),
        (_ttft(goal=Goal(1)), _decode(Goal(1))),
    ),
    Scenario(
        "prefix8",
        "8 callers at once, one 2,000-token prefix",
        lambda stage: shared_prefix(stage, 8),
        _prefix_rows(Goal(1 / 5), Goal(1 / 3)),
    ),
    Scenario(
        "prefix32",
        "32 callers at once, one 2,000-token prefix",
        lambda stage: shared_prefix(stage, 32),
        _prefix_rows(),
        n_slots=32,
        is_long=True,
    ),
    Scenario(
        "short8",
        "8 callers at once, short distinct prompts",
        lambda stage: short_prompts(stage, 8),
        (Row("output_tps", "output", "tok/s", Goal(1.15)),),
    ),
    Scenario(
        "interrupt",
        "2 streams talking, a 2,000-token prompt arrives",
        interrupted,
        (
            Row("gap_max_s", "longest silence", "s", Goal(0.3, of_peer=False)),
            Row("gap_p99_s", "silence p99", "s"),
            _ttft("TTFT of the long prompt", goal=Goal(1.5)),
        ),
    ),
    Scenario(
        "hangup",
        "a caller hangs up in prefill",
        lambda stage: hang_ups(stage, 3),
        (_ttft("TTFT of the next caller", goal=Goal(0.5, of_peer=False)),),
    ),
    Scenario(
        "talks",
        "6 conversations of 4 turns on 4 slots",
        lambda stage: conversations(stage, 6, 4),
        (Row("total_s", "total", "s", Goal(0.7)), _ttft("TTFT p50 of later turns", "ttft_later_p50_s")),
        n_slots=4,
        n_slot_tokens=1024,
    ),
    Scenario("deep", "one stream, 2,000-token prompt", lambda stage: single(stage, 2000, 64, 2), (_decode(Goal(1.5)),)),
    Scenario(
        "small",
        "default model, one stream, 300-token prompt",
        lambda stage: single(stage, 300, 64, 5),
        (_decode(Goal(1.5)),),
        model="default",
    ),
)
