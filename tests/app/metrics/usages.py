"""Usages of answers."""

from __future__ import annotations

from llmcore.messages import Usage


def usage(n_generated: int, decode_s: float = 0.5) -> Usage:
    return Usage(
        n_prompt=7,
        n_cached=0,
        n_restored=0,
        n_generated=n_generated,
        queue_s=0.01,
        prefill_s=0.02,
        decode_s=decode_s,
    )
