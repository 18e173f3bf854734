"""Arguments of the shim's sampler, and the call that draws tokens."""

from __future__ import annotations

import ctypes as C
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from llmcore.llama.ffi.arrays import UInt32Array, address_of
from llmcore.llama.ffi.library import Library
from llmcore.llama.ffi.structures import LcSampleExtras, LcSamplingParams, LlamaLogitBias


def make_sampling_params(
    values: Mapping[str, float | int], breakers: Iterable[str], logit_bias: Mapping[int, float]
) -> tuple[LcSamplingParams, list[object]]:
    """Returns an lc_sampling_params and the objects that must outlive its use.

    Args:
        values: integers and floats by field name.
        breakers: DRY's sequence breakers.
        logit_bias: bias by token id.
    """
    encoded = [text.encode() for text in breakers]
    breaker_array = (C.c_char_p * len(encoded))(*encoded)
    bias_array = (LlamaLogitBias * len(logit_bias))(
        *(LlamaLogitBias(token, bias) for token, bias in logit_bias.items())
    )
    struct = LcSamplingParams(
        **values,
        n_dry_breakers=len(encoded),
        dry_breakers=C.cast(breaker_array, C.POINTER(C.c_char_p)),
        n_logit_bias=len(bias_array),
        logit_bias=C.cast(bias_array, C.POINTER(LlamaLogitBias)),
    )
    return struct, [encoded, breaker_array, bias_array]


class SampleExtras:
    """Masks and log-probabilities of a draw: an lc_sample_extras over arrays of its own.

    Args:
        masks: for each row, bits of the tokens that are allowed (uint32[(n_vocab + 31) // 32]), or None for all of them.
        n_top: for each row, the number of most probable tokens to return; negative for no log-probabilities at all.

    After the draw, `tokens` (int32) and `logprobs` (float32), both [n_rows, stride], hold each such row's drawn token, then its
    most probable ones.
    """

    def __init__(self, masks: Sequence[UInt32Array | None], n_top: Sequence[int]) -> None:
        n = len(masks)
        self._masks = list(masks)  # alive as long as their addresses are used
        self.stride = 1 + max(0, max(n_top))
        self.tokens = np.zeros((n, self.stride), np.int32)
        self.logprobs = np.zeros((n, self.stride), np.float32)
        self.struct = LcSampleExtras(
            masks=(C.c_void_p * n)(*(None if mask is None else address_of(mask) for mask in masks)),
            n_mask_words=max((len(mask) for mask in masks if mask is not None), default=0),
            n_top=(C.c_int32 * n)(*n_top) if max(n_top) >= 0 else None,
            stride=self.stride,
            tokens=address_of(self.tokens),
            logprobs=address_of(self.logprobs),
        )
        if all(mask is None for mask in masks):
            self.struct.masks = None


def sample_tokens(
    lib: Library, context: int, samplers: Sequence[int], rows: Sequence[int], extras: SampleExtras | None = None
) -> list[int]:
    """Draws one token for each pair of a sampler and a row (batch index of the last step), in one native call (lc_sample).

    Returns token ids, or -1 where the mask allows none, -2 where logits are not finite.
    """
    n = len(samplers)
    out = (C.c_int32 * n)()
    struct = None if extras is None else C.byref(extras.struct)
    lib.check(lib.lc_sample(context, n, (C.c_void_p * n)(*samplers), (C.c_int32 * n)(*rows), struct, out))
    return list(out)
