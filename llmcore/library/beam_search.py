"""Beam search: the most probable answers that a search of a given width finds.

Each step asks the engine for the next tokens of all beams at once. The cells of a beam are those of the beam that it continues, but
for its last token, so a step computes one token for each beam. It is still slow: a beam's token costs a request.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmcore.library.local_engine import LocalEngine
from llmcore.library.scoring import GREEDY
from llmcore.messages import N_LOGPROBS_MAX, GenerateRequest, TokensPrompt

# Twice as many next tokens are needed: half of them may end their beams.
WIDTH_MAX = N_LOGPROBS_MAX // 2


@dataclass(frozen=True)
class Beam:
    """An answer that beam search found. `logprob` is the sum of its tokens' log-probabilities, including the token that ended it,
    which is not among `tokens`. `score` is logprob / length ** length_penalty; beams are ordered by it."""

    text: str
    tokens: tuple[int, ...]
    logprob: float
    score: float
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True)
class _Candidate:
    tokens: tuple[int, ...]
    logprob: float


class BeamSearch:
    """One search over an engine.

    Args:
        ends: token ids that end a beam, in addition to those that end the model's answers.
    """

    def __init__(
        self, local: LocalEngine, prompt: Sequence[int], *, width: int, length_penalty: float, ends: Sequence[int]
    ) -> None:
        self._local = local
        self._model = local.engine.model
        self._prompt = tuple(prompt)
        self._width = width
        self._length_penalty = length_penalty
        self._ends = frozenset(ends)

    def run(self, max_tokens: int) -> list[Beam]:
        """Returns at most `width` beams, the best first. Raises ContextLengthError, OverloadedError."""
        live, finished = [_Candidate((), 0.0)], list[Beam]()
        while live and len(live[0].tokens) < max_tokens and not self._is_decided(live, finished, max_tokens):
            next_live = list[_Candidate]()
            for each in self._extended(live):
                if self._is_end(each.tokens[-1]):
                    finished.append(self._beam(each, is_ended=True))
                elif len(next_live) < self._width:
                    next_live.append(each)
            live, finished = next_live, self._best(finished)
        return self._best([*finished, *(self._beam(each, is_ended=False) for each in live if each.tokens)])

    def _extended(self, live: Sequence[_Candidate]) -> list[_Candidate]:
        """Returns the most probable continuations of beams by one token, the best first: twice as many as the width."""
        finished = self._local.answer_all([self._request(each) for each in live])
        found = [
            _Candidate((*each.tokens, top.token), each.logprob + top.logprob)
            for each, done in zip(live, finished, strict=True)
            for top in done.logprobs[0].top
        ]
        return heapq.nlargest(2 * self._width, found, key=lambda each: each.logprob)

    def _request(self, beam: _Candidate) -> GenerateRequest:
        return GenerateRequest(
            request_id=self._local.new_id(),
            prompt=TokensPrompt((*self._prompt, *beam.tokens)),
            sampling=GREEDY,
            max_tokens=1,
            ignore_eos=True,  # an end token has a log-probability, too
            n_logprobs=2 * self._width,
        )

    def _is_end(self, token: int) -> bool:
        return token in self._ends or self._model.is_end(token)

    def _is_decided(self, live: Sequence[_Candidate], finished: Sequence[Beam], max_tokens: int) -> bool:
        """True if no live beam can become better than `width` finished ones. Its log-probability only falls, so the best that
        it can reach is what it has now, at the length that favours it most."""
        if len(finished) < self._width:
            return False
        n = len(live[0].tokens)
        reachable = max(self._score(live[0].logprob, n + 1), self._score(live[0].logprob, max_tokens))
        return reachable <= min(each.score for each in finished)

    def _beam(self, candidate: _Candidate, *, is_ended: bool) -> Beam:
        tokens = candidate.tokens[:-1] if is_ended else candidate.tokens
        text, score = self._model.detokenize(tokens), self._score(candidate.logprob, len(candidate.tokens))
        return Beam(text, tokens, candidate.logprob, score, "stop" if is_ended else "length")

    def _score(self, logprob: float, length: int) -> float:
        return float(logprob / length**self._length_penalty)

    def _best(self, beams: Sequence[Beam]) -> list[Beam]:
        return heapq.nlargest(self._width, beams, key=lambda each: each.score)
