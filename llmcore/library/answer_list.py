"""The answers to a list of prompts, collected as they end, in the order of the prompts."""

from __future__ import annotations

from llmcore.completion import CompletionBuilder
from llmcore.errors import LlmcoreError
from llmcore.library.completion import Completion, completion_of, with_others
from llmcore.library.jobs import Jobs
from llmcore.library.progress import ListProgress


class AnswerList:
    """Collects the answers of jobs. A request has a number: those of job 0 come first, n for each job."""

    def __init__(self, jobs: Jobs, progress: ListProgress) -> None:
        self._jobs = jobs
        self._progress = progress
        # (job, choice) of each request, of those jobs that can be answered.
        self.requests: list[tuple[int, int]] = []
        self._choices: list[list[Completion | None]] = [[None] * job.arguments.n for job in jobs.jobs]
        self._errors: dict[int, LlmcoreError] = {}  # by job
        for index, job in enumerate(jobs.jobs):
            if isinstance(job.prompt, LlmcoreError):
                self._errors[index] = job.prompt
                progress.end()
            else:
                self.requests += [(index, choice) for choice in range(job.arguments.n)]

    def end(self, job: int, choice: int, parts: CompletionBuilder) -> None:
        """Records an answer that has ended."""
        choices = self._choices[job]
        choices[choice] = completion_of(parts, self._jobs.jobs[job].arguments.response_type)
        assert parts.finished is not None
        self._progress.add_tokens(parts.finished.usage.n_generated)
        if job not in self._errors and None not in choices:
            self._progress.end()

    def fail(self, job: int, error: LlmcoreError) -> None:
        """Records that a request failed: its error is the result of the job. Raises it, unless errors are returned in place."""
        error = self._jobs.located(self._jobs.jobs[job].rename(error), job)
        if not self._jobs.keeps_errors:
            raise error
        if job not in self._errors:
            self._errors[job] = error
            self._progress.end()

    def has_failed(self, job: int) -> bool:
        return job in self._errors

    def results(self) -> list[Completion | LlmcoreError]:
        """The answers or errors, one for each prompt, once all requests have ended."""
        return [self._errors.get(index) or self._joined(choices) for index, choices in enumerate(self._choices)]

    def _joined(self, choices: list[Completion | None]) -> Completion:
        return with_others(each for each in choices if each is not None)
