"""A sampler: draws the next token of one sequence; keeps its penalties and random numbers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmcore.batch import Row
from llmcore.config import N_CTX_DEFAULT_MAX
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.llama.context import Context
from llmcore.llama.ffi.arrays import Float32Array, UInt32Array, address_of, int32_pointer
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.sampling import SampleExtras, make_sampling_params, sample_tokens
from llmcore.llama.handle import HandleOwner
from llmcore.llama.model import Model
from llmcore.sampling import MAX_SEED, SamplingParams
from llmcore.values import instance_of, plain_value, wrong_value

# Fields of SamplingParams that native code takes unchanged.
_PLAIN_FIELDS = tuple(
    name for name in SamplingParams.__struct_fields__ if name not in ("seed", "logit_bias", "dry_sequence_breakers")
)


class Sampler(HandleOwner):
    """Owns a native sampler of a model.

    Args:
        params: by default those of SamplingParams().
        n_ctx: number of tokens that repeat_last_n and dry_penalty_last_n mean by the whole context; by default the model's.

    Raises InvalidRequestError for a logit_bias token outside the vocabulary.
    """

    def __init__(self, model: Model, params: SamplingParams | None = None, *, n_ctx: int | None = None) -> None:
        params = instance_of(SamplingParams, SamplingParams() if params is None else params, "params")
        self._lib = load_library()
        self._name = "the sampler"
        self.model = instance_of(Model, model, "model")
        # llama.cpp draws a seed itself for 2**32 - 1, so that this seed is another one here. A missing one is drawn here, so that
        # it can be reported.
        self.seed = secrets.randbelow(MAX_SEED) if params.seed is None else params.seed
        if self.seed == MAX_SEED:
            self.seed = MAX_SEED // 2
        for token in params.logit_bias:
            if not 0 <= token < model.n_vocab:
                raise InvalidRequestError(
                    f"logit_bias: token {token} is not in the vocabulary (0 to {model.n_vocab - 1})", param="logit_bias"
                )
        values = {name: getattr(params, name) for name in _PLAIN_FIELDS}
        native, alive = make_sampling_params(
            {**values, "seed": self.seed, "n_ctx": n_ctx or model.n_ctx_train or N_CTX_DEFAULT_MAX},
            params.dry_sequence_breakers,
            params.logit_bias,
        )
        sampler = self._lib.check_pointer(self._lib.lc_sampler_new(model.handle, native), "creating a sampler")
        self._create_handle(sampler, self._lib.lc_sampler_free, self._lib, parent=model)
        del alive  # native code has copied it

    def reset(self) -> None:
        """Restores the state of a new sampler with the same seed."""
        self._lib.check(self._lib.lc_sampler_reset(self.handle))

    def prime(self, prompt: Sequence[int]) -> None:
        """Adds the prompt to the tokens that repeat_penalty and DRY look back at."""
        tokens = np.asarray(prompt, np.int32)
        self._lib.check(self._lib.lc_sampler_prime(self.handle, address_of(tokens), len(tokens)))

    def accept(self, tokens: Sequence[int]) -> None:
        """Adds tokens of the answer that were not drawn by this sampler."""
        array = np.asarray(tokens, np.int32)
        self._lib.check(self._lib.lc_sampler_accept(self.handle, address_of(array), len(array)))

    def sample(self, context: Context, row: int | Row) -> int:
        """Draws the token after a row of the last step: the result of Batch.add(), or its batch index. Raises InvalidRequestError
        for a row that asked for no logits."""
        index = row.logits_at if isinstance(row, Row) else plain_value(row)
        if not isinstance(index, int):
            raise wrong_value("row", "a Row, or a batch index", row)
        if index < 0:
            raise InvalidRequestError("the row asked for no logits: add it with wants_logits=True", param="row")
        return sample_rows(context, [self], [index])[0]

    def sample_logits(self, logits: Float32Array) -> int:
        """Draws a token from logits in memory (float32[n_vocab])."""
        if logits.dtype != np.float32 or logits.shape != (self.model.n_vocab,) or not logits.flags.c_contiguous:
            raise InvalidRequestError(f"logits must be a contiguous float32[{self.model.n_vocab}]", param="logits")
        out = np.zeros(1, np.int32)
        pointer = int32_pointer(out)
        self._lib.check(self._lib.lc_sample_logits(self.handle, address_of(logits), len(logits), pointer))
        return int(out[0])


def sample_rows(context: Context, samplers: Sequence[Sampler], rows: Sequence[int]) -> list[int]:
    """Draws one token for each pair of a sampler and a batch index of the last step, in one native call. Raises NativeError
    if one of them cannot be drawn."""
    if not samplers:
        return []
    tokens = sample_tokens(load_library(), context.handle, [sampler.handle for sampler in samplers], rows)
    if NO_TOKEN in tokens:
        raise NativeError("no token can be chosen: the logits (with their bias) exclude every one")
    if BAD_LOGITS in tokens:
        raise NativeError(NOT_FINITE)
    return tokens


class SampleRequest(NamedTuple):
    """One draw, from batch index `row`.

    Args:
        mask: a bit for each token that is allowed (uint32[(n_vocab + 31) // 32], lowest bit first); None allows all.
        n_top: number of most probable tokens whose log-probabilities are returned with that of the drawn token; None for none.
    """

    sampler: Sampler
    row: int
    mask: UInt32Array | None = None
    n_top: int | None = None


class SampledToken(NamedTuple):
    """Result of a draw.

    Args:
        token: a token id; NO_TOKEN if mask or parameters exclude every token, BAD_LOGITS if logits are not finite.
        logprobs: pairs (token, log-probability) of the drawn token, then of the most probable ones. They are the model's own:
            before mask, biases, penalties and temperature.
    """

    token: int
    logprobs: tuple[tuple[int, float], ...] = ()


NO_TOKEN, BAD_LOGITS = -1, -2
NOT_FINITE = "the model's logits are not finite: numbers have overflowed, or the model file is damaged"


def sample_batch(context: Context, requests: Sequence[SampleRequest]) -> list[SampledToken]:
    """Draws one token for each of several rows of the last step, in one native call."""
    if not requests:
        return []
    extras = None
    if any(each.mask is not None or each.n_top is not None for each in requests):
        n_top = [-1 if each.n_top is None else each.n_top for each in requests]
        extras = SampleExtras([each.mask for each in requests], n_top)
    handles, rows = [each.sampler.handle for each in requests], [each.row for each in requests]
    tokens = sample_tokens(load_library(), context.handle, handles, rows, extras)
    if extras is None:
        return [SampledToken(token) for token in tokens]
    return [SampledToken(token, _logprobs(extras, i, requests[i].n_top, token)) for i, token in enumerate(tokens)]


def _logprobs(extras: SampleExtras, row: int, n_top: int | None, token: int) -> tuple[tuple[int, float], ...]:
    if n_top is None or token < 0:
        return ()
    n = 1 + n_top
    pairs = zip(extras.tokens[row, :n].tolist(), extras.logprobs[row, :n].tolist(), strict=True)
    return tuple(pair for pair in pairs if pair[0] != NO_TOKEN)
