"""Lists of prompts, answered together by an engine in this process."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from llmcore.completion import CompletionBuilder
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.errors import InvalidRequestError, LlmcoreError, OverloadedError, error_from_code
from llmcore.library.answer_list import AnswerList
from llmcore.library.backlog import Backlog
from llmcore.library.completion import Completion
from llmcore.library.jobs import Jobs
from llmcore.library.local_engine import LocalEngine
from llmcore.library.progress import ListProgress
from llmcore.messages import Failed, Finished, GenerateRequest, Output, Piece
from llmcore.protocol.checks import checked_request

# Requests with the engine, for each of its slots: some wait there, so that it can choose those whose prefix is cached.
OPEN_PER_SLOT = 2
# Prompts are read before the first of them is computed. Up to so many tokens are kept; the prompts beyond are read once more.
_KEPT_TOKENS_MAX = 1_000_000


def answer_list(local: LocalEngine, jobs: Jobs) -> list[Completion | LlmcoreError]:
    """Returns the answer to each job, or its error if errors are returned in place. Whatever else ends it, an error or Ctrl-C,
    cancels all of them. Raises InvalidRequestError, ContextLengthError, ClosedError or the error of an answer; its `index` is the
    place of the prompt."""
    with ListProgress(jobs.progress, len(jobs.jobs)) as progress:
        return _ListRun(local, jobs, AnswerList(jobs, progress)).run()


class _ListRun:
    """One list on its way through an engine. Requests are known by their numbers in AnswerList."""

    def __init__(self, local: LocalEngine, jobs: Jobs, answers: AnswerList) -> None:
        self._local = local
        self._jobs = jobs
        self._answers = answers
        self._backlog = Backlog(len(answers.requests), OPEN_PER_SLOT * local.engine.limits.n_running)
        self._requests: list[GenerateRequest] = []
        self._prompts: dict[int, TokenizedPrompt] = {}  # by job
        self._parts: dict[int, CompletionBuilder] = {}  # of open requests
        self._numbers: dict[str, int] = {}  # of open requests, by id
        self._outputs: deque[Output] = deque()

    def run(self) -> list[Completion | LlmcoreError]:
        self._read()
        try:
            while not self._backlog.is_done:
                self._submit()
                for output in self._local.step(self._outputs):
                    self._take(output)
                self._backlog.retry()
        finally:
            for id in self._numbers:
                self._local.cancel(id)
        return self._answers.results()

    def _read(self) -> None:
        """Reads all prompts: one that is too long should not end the list after most of it is computed."""
        n_kept = 0
        for index, job in enumerate(self._jobs.jobs):
            if isinstance(job.prompt, LlmcoreError):
                continue
            requests = job.requests(self._local.new_id)
            self._requests += requests
            try:
                self._requests[-len(requests) :] = [checked_request(each) for each in requests]
                prompt = self._local.read(job.prompt, requests[0].prediction)
            except InvalidRequestError as error:
                self._answers.fail(index, error)
                continue
            n_kept += len(prompt.tokens)
            if n_kept <= _KEPT_TOKENS_MAX:
                self._prompts[index] = prompt

    def _submit(self) -> None:
        """Gives the engine as many requests as it has room for."""
        while (number := self._backlog.take()) is not None:
            job, _ = self._answers.requests[number]
            if self._answers.has_failed(job):
                self._backlog.ended(number)
                continue
            request, prompt = self._requests[number], self._prompts.get(job)
            if prompt is not None:
                prompt = replace(prompt, tokens=[*prompt.tokens])  # the engine appends the answer
            self._numbers[request.request_id] = number  # before it is submitted: an interruption must cancel it
            try:
                processors = self._jobs.jobs[job].arguments.logits_processors
                self._local.submit(request, self._outputs, prompt=prompt, logits_processors=processors)
            except (OverloadedError, InvalidRequestError) as error:
                del self._numbers[request.request_id]
                if isinstance(error, OverloadedError):
                    self._backlog.refused(number)
                else:
                    self._backlog.ended(number)
                    self._answers.fail(job, error)
            else:
                self._parts[number] = CompletionBuilder()

    def _take(self, output: Output) -> None:
        if isinstance(output, Piece):
            self._parts[self._numbers[output.request_id]].add(output)
        elif isinstance(output, (Finished, Failed)):
            number = self._numbers.pop(output.request_id)
            parts = self._parts.pop(number)
            self._local.cancel(output.request_id)  # which drops it: it has ended
            self._backlog.ended(number)
            job, choice = self._answers.requests[number]
            if isinstance(output, Finished):
                parts.add(output)
                self._answers.end(job, choice, parts)
            else:
                self._answers.fail(job, error_from_code(output.code, output.message, output.param))
