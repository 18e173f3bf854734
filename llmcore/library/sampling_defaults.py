"""Sampling parameters of an answer for which none were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import ConfigError, InvalidRequestError
from llmcore.hub.model_store import known_sampling
from llmcore.sampling import SamplingParams, sampling_params

# Where neither a model's file nor its known entry recommends anything: llama.cpp's own values.
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


def default_sampling(metadata: Mapping[str, str], known: Mapping[str, float] | None = None) -> SamplingParams:
    """Returns the parameters that a model's file recommends (its metadata as text), else those of its known entry, else
    PLAIN_DEFAULTS. A value out of range or unreadable counts as absent."""
    found: dict[str, Any] = {}
    for key, name in _KEYS.items():
        if key in metadata:
            try:
                msgspec.convert({name: metadata[key]}, SamplingParams, strict=False)
            except (msgspec.ValidationError, InvalidRequestError):
                continue
            found[name] = metadata[key]
    found = found or dict(known or {})
    return msgspec.convert(found, SamplingParams, strict=False) if found else PLAIN_DEFAULTS


def model_sampling(path: str, metadata: Mapping[str, str]) -> SamplingParams:
    """Returns default_sampling() of a model's file. A user's file of known models that cannot be read counts as absent: it
    matters to those alone who name a model of it."""
    try:
        known = known_sampling(path)
    except ConfigError:
        known = {}
    return default_sampling(metadata, known)


def with_changes(params: SamplingParams, changes: Mapping[str, Any]) -> SamplingParams:
    """Returns parameters with some fields replaced, and the types of all checked. Raises InvalidRequestError, naming the field."""
    return sampling_params(**{**msgspec.structs.asdict(params), **changes})
