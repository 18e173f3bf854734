"""Candidates and figures for tests of the policy."""

from __future__ import annotations

import msgspec

from llmcore.startup.trial_result import Candidate, Figures

DEFAULT = Candidate(
    threads=8,
    threads_batch=8,
    n_batch=512,
    n_ubatch=512,
    flash_attn=False,
    cache_type_k="f16",
    cache_type_v="f16",
)


def changed(**changes: object) -> Candidate:
    return msgspec.structs.replace(DEFAULT, **changes)


def figures(decode_s: float, prompt_token_s: float | None = None, waited: float = 0.0) -> Figures:
    prompt = decode_s / 4 if prompt_token_s is None else prompt_token_s
    return Figures(
        n_cells=2048,
        decode_s=decode_s,
        n_rows=8,
        rows_s=2 * decode_s,
        prompt_token_s=prompt,
        cold_token_s=prompt,
        waited=waited,
    )
