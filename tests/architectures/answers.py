"""Answers of an engine: several to one prompt, and to prompts that share a prefix."""

from __future__ import annotations

from llmcore.engine.engine import Engine
from llmcore.errors import error_from_code
from llmcore.messages import Failed, Finished, GenerateRequest, Piece, TokenLogprob, TokensPrompt
from llmcore.sampling import SamplingParams
from tests.architectures.probe import texts

_GREEDY = SamplingParams(temperature=0.0)
_N_ANSWER = 12
_N_SHARED = 14
# Rounding changes log-probabilities: of two tokens nearer to each other than this, either may be the most probable.
TOLERANCE = 0.1

Tokens = list[TokenLogprob]


def compare(engine: Engine) -> dict[str, float | int]:
    """Returns the largest differences of log-probabilities between two answers to one prompt (`n: 2`), and between an answer with a
    cached prefix and one without; and the number of cached tokens."""
    first, other = texts(2)
    shared = first[:_N_SHARED] + other[_N_SHARED:]
    both, _ = _answers(engine, {"a": (first, ""), "b": (first, "")})
    [cached], n_cached = _answers(engine, {"c": (shared, "")})
    # Tenants share no cells.
    [alone], n_foreign = _answers(engine, {"d": (shared, "other")})
    assert not n_foreign, "tenants share cells"
    return {"two": _apart(*both), "prefix": _apart(cached, alone), "cached": n_cached}


def _answers(engine: Engine, asked: dict[str, tuple[list[int], str]]) -> tuple[list[Tokens], int]:
    """Returns the tokens of each answer, and the number of cached tokens of all prompts."""
    for name, (prompt, tenant) in asked.items():
        engine.submit(
            GenerateRequest(
                request_id=name,
                prompt=TokensPrompt(tuple(prompt)),
                sampling=_GREEDY,
                max_tokens=_N_ANSWER,
                ignore_eos=True,
                n_logprobs=0,
                tenant=tenant,
            )
        )
    found: dict[str, Tokens] = {name: [] for name in asked}
    n_cached = 0
    while engine.has_work:
        for output in engine.step():
            if isinstance(output, Failed):
                raise error_from_code(output.code, output.message, output.param)
            if isinstance(output, (Piece, Finished)):
                found[output.request_id].extend(output.logprobs)
            if isinstance(output, Finished):
                n_cached += output.usage.n_cached
    assert all(len(tokens) == _N_ANSWER for tokens in found.values()), {k: len(v) for k, v in found.items()}
    return list(found.values()), n_cached


def _apart(one: Tokens, other: Tokens) -> float:
    """Returns the largest difference up to the place where the answers part, at which each took its most probable token."""
    apart = 0.0
    for mine, theirs in zip(one, other, strict=True):
        apart = max(apart, abs(mine.logprob - theirs.logprob))
        if mine.token != theirs.token:
            break
    return apart
