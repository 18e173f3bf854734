"""Log-probabilities of a prompt's tokens, collected while the prompt is computed."""

from __future__ import annotations

from llmcore.engine.token_text import TokenText
from llmcore.llama.context import Context
from llmcore.llama.logprobs import token_logprobs
from llmcore.messages import TokenLogprob
from llmcore.scheduling.step_rows import PromptLogits


class PromptLogprobs:
    """The log-probability of each token of one prompt, from token `first` on (at least 1: nothing comes before token 0), with
    n_top alternatives each."""

    def __init__(self, first: int, n_top: int) -> None:
        self._first = first
        self._n_top = n_top
        self._found: list[tuple[tuple[int, float], ...]] = []

    def add(self, context: Context, part: PromptLogits) -> None:
        """Reads the logits of one part of the prompt from the step that was just computed. A place that is computed again (its
        sequence went back) replaces what was found from there on."""
        del self._found[part.start + 1 - self._first :]
        tokens = part.sequence.tokens
        for i in range(part.n):
            # The logits of a place are those of the token behind it.
            self._found.append(token_logprobs(context.logits(part.index + i), tokens[part.start + i + 1], self._n_top))

    def result(self, text: TokenText) -> tuple[TokenLogprob, ...]:
        """Returns what was found, in the order of the prompt."""
        found = (text.logprob(pairs) for pairs in self._found)
        return tuple(each for each in found if each is not None)
