"""Lists of prompts, answered together by an engine that an event loop awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from llmcore.completion import CompletionBuilder
from llmcore.errors import LlmcoreError
from llmcore.library.answer_list import AnswerList
from llmcore.library.completion import Completion
from llmcore.library.jobs import Jobs
from llmcore.library.progress import ListProgress
from llmcore.messages import GenerateRequest
from llmcore.worker.generation import Generation

# Submits a request and waits until the engine has room for it.
Submit = Callable[[GenerateRequest], Awaitable[Generation]]


async def answer_list(
    submit: Submit, jobs: Jobs, new_id: Callable[[], str], n_open_max: int
) -> list[Completion | LlmcoreError]:
    """Returns the answer to each job, or its error if errors are returned in place. Whatever else ends it, an error or the cancel
    of the task, cancels all of them. At most `n_open_max` requests are with the engine."""
    with ListProgress(jobs.progress, len(jobs.jobs)) as progress:
        answers = AnswerList(jobs, progress)
        requests = [
            each for job in jobs.jobs if not isinstance(job.prompt, LlmcoreError) for each in job.requests(new_id)
        ]
        waiting = iter(list(zip(requests, answers.requests, strict=True)))
        lanes = [
            asyncio.ensure_future(_answer(waiting, submit, answers)) for _ in range(min(n_open_max, len(requests)))
        ]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
        return answers.results()


async def _answer(
    waiting: Iterator[tuple[GenerateRequest, tuple[int, int]]], submit: Submit, answers: AnswerList
) -> None:
    """Answers one request after the other, until none is left. Several of these share `waiting`."""
    for request, (job, choice) in waiting:
        if answers.has_failed(job):
            continue
        try:
            parts = await _read(await submit(request))
        except LlmcoreError as error:
            answers.fail(job, error)
        else:
            answers.end(job, choice, parts)


async def _read(generation: Generation) -> CompletionBuilder:
    parts = CompletionBuilder()
    try:
        async for output in generation:
            parts.add(output)
    finally:
        generation.leave()
    return parts
