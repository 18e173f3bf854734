"""Log-probabilities of given texts: of continuations of a prompt, and the perplexity of a text.

Each text is one request that asks for the log-probabilities of its tokens. What several of them have in common is computed once:
the engine's cache shares cells up to the first token that is scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.library.checks import text_or_tokens
from llmcore.library.local_engine import LocalEngine
from llmcore.llama.model import Model
from llmcore.messages import GenerateRequest, TokensPrompt
from llmcore.sampling import SamplingParams
from llmcore.sequence import common_prefix

GREEDY = SamplingParams(temperature=0)


@dataclass(frozen=True)
class Score:
    """Natural logarithms of the probabilities of a continuation's tokens, each given all tokens before it.

    `tokens` are the tokens that were scored. Where text of the prompt and of the continuation share a token, that token is among
    them (see LLM.score).
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """Sum of the log-probabilities: the logarithm of the probability of the whole continuation."""
        return math.fsum(self.logprobs)

    @property
    def mean(self) -> float:
        """Mean log-probability of a token, for comparing continuations of different lengths."""
        return self.total / len(self.logprobs)


def score_continuations(local: LocalEngine, prompt: Any, continuations: Sequence[Any], name: str) -> list[Score]:
    """Scores each continuation of a prompt; both are texts or token ids. `name` is the argument of the continuations.

    Raises InvalidRequestError, naming the argument, or ContextLengthError.
    """
    model = local.engine.model
    requests, scored = [], []
    for index, each in enumerate(continuations):
        tokens, first = _joined(model, prompt, each, f"{name}[{index}]")
        requests.append(_request(local, tokens, first))
        scored.append(tuple(tokens[first:]))
    finished = local.answer_all(requests)
    return [
        Score(tokens, tuple(one.logprob for one in done.prompt_logprobs))
        for tokens, done in zip(scored, finished, strict=True)
    ]


def perplexity(local: LocalEngine, text: Any) -> float:
    """Returns exp(-mean log-probability) of a text's tokens (or of token ids) from the second on.

    A text that is longer than the context is computed in windows that overlap by half: each token but those of the first window
    is predicted from at least half a window. Raises InvalidRequestError.
    """
    model, limits = local.engine.model, local.engine.limits
    tokens = _tokens(model, text_or_tokens(text, "text"))
    if len(tokens) < 2:
        raise InvalidRequestError(f"text must have at least two tokens, got {len(tokens)}", param="text")
    n_window = min(limits.n_ctx - 1, limits.n_prompt or limits.n_ctx)
    requests = [
        _request(local, tokens[start:end], first, keeps=False) for start, end, first in windows(len(tokens), n_window)
    ]
    logprobs = [one.logprob for done in local.answer_all(requests) for one in done.prompt_logprobs]
    return math.exp(-math.fsum(logprobs) / len(logprobs))


def windows(n: int, n_window: int) -> list[tuple[int, int, int]]:
    """Returns (start, end, first) of windows over n >= 2 tokens: tokens start + first to end - 1 are scored in each. Every
    token but the first one is scored once. `n_window` is at least 2."""
    found, done = [], 1
    while done < n:
        start = 0 if done == 1 else max(done - n_window // 2, 0)
        end = min(start + n_window, n)
        found.append((start, end, done - start))
        done = end
    return found


def _request(local: LocalEngine, tokens: Sequence[int], first: int, *, keeps: bool = True) -> GenerateRequest:
    return GenerateRequest(
        request_id=local.new_id(),
        prompt=TokensPrompt(tuple(tokens)),
        sampling=GREEDY,
        max_tokens=1,
        n_prompt_logprobs=0,
        prompt_logprobs_from=first,
        keeps_prefix=keeps,
    )


def _tokens(model: Model, given: str | tuple[int, ...]) -> list[int]:
    return model.tokenize(given) if isinstance(given, str) else list(given)


def _joined(model: Model, prompt: Any, continuation: Any, name: str) -> tuple[list[int], int]:
    """Returns the tokens of prompt and continuation, and the place of the first one to score."""
    prompt = text_or_tokens(prompt, "prompt")
    before = _tokens(model, prompt)
    if not before:
        raise InvalidRequestError("prompt has no tokens, and nothing predicts the first one", param="prompt")
    continuation = text_or_tokens(continuation, name)
    if not isinstance(continuation, str):
        tokens = [*before, *continuation]
        first = len(before)
    else:
        tokens = model.tokenize(prompt + continuation) if isinstance(prompt, str) else []
        first = common_prefix(before, tokens)
        if first == 0 or first == len(tokens):  # the texts have no beginning in common, or the prompt's tokens end it
            tokens = [*before, *model.tokenize(continuation, add_special=False)]
            first = len(before)
    if first == len(tokens):
        raise InvalidRequestError(f"{name} has no tokens", param=name)
    return tokens, first
