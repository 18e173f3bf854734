"""Sampling parameters of an answer for which none were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import InvalidRequestError
from llmcore.sampling import SamplingParams

# Where a model's file recommends nothing: llama.cpp's own values.
PLAIN_DEFAULTS = SamplingParams(temperature=0.7, top_p=0.95, top_k=40, min_p=0.05)

# Keys of a GGUF file, as llama.cpp reads them (LLM_KV_GENERAL_SAMPLING_* in llama-arch.cpp).
_KEYS = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.xtc_probability": "xtc_probability",
    "general.sampling.xtc_threshold": "xtc_threshold",
    "general.sampling.penalty_last_n": "repeat_last_n",
    "general.sampling.penalty_repeat": "repeat_penalty",
    "general.sampling.mirostat": "mirostat",
    "general.sampling.mirostat_tau": "mirostat_tau",
    "general.sampling.mirostat_eta": "mirostat_eta",
}


def default_sampling(metadata: Mapping[str, str]) -> SamplingParams:
    """Returns the parameters that a model's file recommends (its metadata as text), else PLAIN_DEFAULTS. A value out of range or
    unreadable counts as absent."""
    found: dict[str, Any] = {}
    for key, name in _KEYS.items():
        if key in metadata:
            try:
                msgspec.convert({name: metadata[key]}, SamplingParams, strict=False)
            except (msgspec.ValidationError, InvalidRequestError):
                continue
            found[name] = metadata[key]
    return msgspec.convert(found, SamplingParams, strict=False) if found else PLAIN_DEFAULTS


def with_changes(params: SamplingParams, changes: Mapping[str, Any]) -> SamplingParams:
    """Returns parameters with some fields replaced. Raises InvalidRequestError, naming the field."""
    return SamplingParams(**{**msgspec.structs.asdict(params), **changes})
