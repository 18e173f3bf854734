"""Replies of /v1/completions, made from the engine's outputs."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType

from llmcore.messages import Finished, Piece

from ..schemas.chat_reply import ChoiceFinishReason
from ..schemas.completion_reply import TextChoice, TextCompletion
from ..schemas.completion_request import CompletionRequest
from ..schemas.logprobs import PromptLogprobs, TextLogprobs
from ..schemas.usage import TokenUsage
from .answer import AnswerChoice
from .logprobs import TextLogprobsBuilder, prompt_logprobs


class CompletionForm:
    """See answer.AnswerForm."""

    def __init__(
        self, id: str, model: str, body: CompletionRequest, echoes: Sequence[str] = (), fingerprint: str = ""
    ) -> None:
        """`echoes` are the texts of the prompts if the answers shall begin with them."""
        self.id = id
        self._created = int(time.time())
        self._model = model
        self._fingerprint = fingerprint or UNSET
        self._body = body
        self._echoes = echoes
        self._logprobs_builders: defaultdict[int, TextLogprobsBuilder] = defaultdict(
            TextLogprobsBuilder
        )  # of each choice
        self._no_usage: UnsetType | None = None if body.wants_usage else UNSET

    def _chunk(self, choices: list[TextChoice], usage: TokenUsage | UnsetType | None) -> TextCompletion:
        return TextCompletion(
            self.id, self._created, self._model, choices, usage=usage, system_fingerprint=self._fingerprint
        )

    def first_chunk(self, index: int) -> TextCompletion | None:
        return self.text_chunk(index, self._echo(index)) if self._echoes else None

    def _echo(self, index: int) -> str:
        return self._echoes[index // self._body.n_choices] if self._echoes else ""

    def text_chunk(self, index: int, text: str) -> TextCompletion:
        return self._chunk([TextChoice(index, text)], self._no_usage)

    def chunks(self, index: int, output: Piece | Finished) -> Iterator[TextCompletion]:
        logprobs = self._logprobs_builders[index].build(output.logprobs) if output.logprobs else None
        if output.text or logprobs is not None:
            yield self._chunk([TextChoice(index, output.text, logprobs=logprobs)], self._no_usage)

    def end_chunk(self, index: int, reason: ChoiceFinishReason) -> TextCompletion:
        return self._chunk([TextChoice(index, "", reason)], self._no_usage)

    def usage_chunk(self, usage: TokenUsage) -> TextCompletion:
        return self._chunk([], usage)

    def reply(self, choices: Sequence[AnswerChoice], usage: TokenUsage) -> TextCompletion:
        found = [
            TextChoice(
                index,
                self._echo(index) + each.text,
                each.finish_reason,
                self._logprobs(each),
                self._prompt_logprobs(choices, index // self._body.n_choices),
            )
            for index, each in enumerate(self._best(choices))
        ]
        return self._chunk(found, usage)

    def _best(self, choices: Sequence[AnswerChoice]) -> Iterator[AnswerChoice]:
        """Gives the n candidates of each prompt that the model finds most probable per token."""
        n_candidates, n = self._body.n_candidates, self._body.n_choices
        if n_candidates == n:
            yield from choices
            return
        for start in range(0, len(choices), n_candidates):
            candidates = choices[start : start + n_candidates]
            yield from sorted(candidates, key=_mean_logprob, reverse=True)[:n]

    def _prompt_logprobs(self, choices: Sequence[AnswerChoice], prompt: int) -> PromptLogprobs | UnsetType:
        if self._body.prompt_logprobs is None:
            return UNSET
        return prompt_logprobs(choices[prompt * self._body.n_candidates].prompt_logprobs)

    def _logprobs(self, choice: AnswerChoice) -> TextLogprobs | None:
        return TextLogprobsBuilder().build(choice.logprobs) if self._body.logprobs is not None else None


def _mean_logprob(choice: AnswerChoice) -> float:
    return statistics.fmean(each.logprob for each in choice.logprobs) if choice.logprobs else 0.0
