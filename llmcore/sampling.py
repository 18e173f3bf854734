"""Parameters by which the next token is chosen: one frozen set for each request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import InvalidRequestError
from llmcore.values import plain_value, wrong_value

MAX_SEED = 2**32 - 1


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sampling parameters. Every default is "off", except that of temperature (1.0).

    Order of application, as in llama.cpp's common sampler: logit bias, penalties, DRY, top-n-sigma, top-k, typical, top-p,
    min-p, XTC, temperature, draw. `temperature=0` is greedy. Mirostat, if chosen, replaces the truncations.

    Raises InvalidRequestError, with the field in `param`, for a value out of range.
    """

    temperature: float = 1.0  # 0..100; 0 takes the most probable token
    top_k: int = 0  # 0 = off
    top_p: float = 1.0  # 0..1; 1 = off
    min_p: float = 0.0  # 0..1; 0 = off
    typical_p: float = 1.0  # 0..1; 1 = off. https://arxiv.org/abs/2202.00666
    top_n_sigma: float = 0.0  # 0 = off. https://arxiv.org/abs/2411.07641
    xtc_probability: float = 0.0  # 0..1; 0 = off
    xtc_threshold: float = 0.1  # 0..1
    repeat_penalty: float = 1.0  # 1e-30..100; 1 = off; looks back over prompt and answer
    repeat_last_n: int = 64  # tokens to look back; -1 = the whole context
    frequency_penalty: float = 0.0  # -2..2; over the answer, as OpenAI's
    presence_penalty: float = 0.0  # -2..2; over the answer, as OpenAI's
    dry_multiplier: float = 0.0  # 0 = off
    dry_base: float = 1.75  # >= 1
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1  # -1 = the whole context
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    dynatemp_range: float = 0.0  # 0 = off. https://arxiv.org/abs/2309.02772
    dynatemp_exponent: float = 1.0
    mirostat: int = 0  # 0 = off, 1, 2. https://arxiv.org/abs/2007.14966
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: dict[int, float] = msgspec.field(default_factory=dict)  # token id -> added to its logit, -100..100
    seed: int | None = None  # 0..2**32-1; None draws one

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
        if not isinstance(self.logit_bias, dict):
            raise InvalidRequestError("logit_bias must be a mapping of token ids to numbers", param="logit_bias")
        for token, bias in self.logit_bias.items():
            _check_range(f"logit_bias.{token}", bias, -100.0, 100.0)


_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 100.0),
    "top_k": (0, 2**31 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "top_n_sigma": (0.0, 1e6),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "repeat_penalty": (1e-30, 100.0),  # its inverse is a 32-bit float too
    "repeat_last_n": (-1, 2**31 - 1),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "dry_multiplier": (0.0, 100.0),
    "dry_base": (1.0, 100.0),
    "dry_allowed_length": (0, 2**31 - 1),
    "dry_penalty_last_n": (-1, 2**31 - 1),
    "dynatemp_range": (0.0, 100.0),
    "dynatemp_exponent": (0.0, 100.0),
    "mirostat": (0, 2),
    "mirostat_tau": (0.0, 100.0),
    "mirostat_eta": (0.0, 1.0),
    "seed": (0, MAX_SEED),
}


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    try:
        is_finite = math.isfinite(value)
    except (TypeError, ValueError, OverflowError):  # not a number, or too large for a float
        raise InvalidRequestError(f"{name} must be a number, got {value!r}", param=name) from None
    if not is_finite or not low <= value <= high:
        raise InvalidRequestError(f"{name} must be between {low:.10g} and {high:.10g}, got {value!r}", param=name)


def sampling_params(**values: Any) -> SamplingParams:
    """Makes SamplingParams of keyword arguments, with their types checked; numpy's numbers become plain ones.

    Raises InvalidRequestError, naming an argument that is unknown or of a wrong type.
    """
    values = {name: _plain(value) for name, value in values.items()}
    for name, value in values.items():
        if name not in SamplingParams.__struct_fields__:
            raise InvalidRequestError(f"unknown sampling parameter: {name}", param=name)
        try:
            msgspec.convert({name: value}, SamplingParams)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, InvalidRequestError):
                raise error.__cause__ from None
            raise wrong_value(name, _WANTED[SamplingParams.__annotations__[name]], value) from None
    return msgspec.convert(values, SamplingParams)


# Descriptions of the fields' types.
_WANTED = {
    "float": "a number",
    "int": "a whole number",
    "int | None": "a whole number or None",
    "tuple[str, ...]": "a sequence of texts",
    "dict[int, float]": "a mapping of token ids to numbers",
}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {plain_value(key): plain_value(each) for key, each in value.items()}
    return plain_value(value)
