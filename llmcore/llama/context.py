"""A context: the KV cells of a model, and the steps computed in them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmcore.batch import Batch
from llmcore.errors import InsufficientMemoryError, InvalidRequestError, NativeError, UnsupportedError
from llmcore.llama.attention_shape import BLOCK_SIZES
from llmcore.llama.ffi.abort_flag import AbortFlag
from llmcore.llama.ffi.arrays import Float32Array, address_of, read_floats
from llmcore.llama.ffi.batch_view import BatchView
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.structures import LcMemoryNeed, LlamaContextParams
from llmcore.llama.handle import Handle, HandleOwner, PartHandle
from llmcore.llama.interruptible import interruptible, nothing
from llmcore.llama.memory_estimate import MemoryEstimate, estimate_memory
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.machine.memory import memory_available_bytes
from llmcore.machine.process import Process

logger = logging.getLogger(__name__)

# ggml_type and llama_pooling_type, by ggml.h and llama.h of the pinned source.
_CACHE_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}
_POOLING_TYPES = {"auto": -1, "none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}

# Results of llama_decode, by llama.h.
_DECODED, _NO_CELLS, _ABORTED, _INVALID_BATCH = 0, 1, 2, -1

# Steps of so many tokens may take seconds, and handing one to another thread costs little beside it: Ctrl-C ends it.
_LONG_TOKENS = 32


class StepAborted(Exception):
    """The abort flag ended a step. Cells of its batch may hold anything: remove them."""


class NoCellsError(NativeError):
    """There are not enough free KV cells for the batch; nothing was changed."""

    code = "no_cells"


@dataclass(frozen=True, kw_only=True)
class ContextParams:
    """n_ctx: KV cells, shared by all slots; n_slots: sequences (llama's seq_id 0 to n_slots - 1); n_batch, n_ubatch: tokens
    of one step, and of one pass over the weights; threads for steps of one token and for larger ones."""

    n_ctx: int
    n_slots: int = 1
    n_batch: int = 512
    n_ubatch: int = 512
    threads: int = 1
    threads_batch: int = 1
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: bool = False
    embeddings: bool = False
    pooling: str = "auto"  # of embeddings: how a text's vectors become one; auto is what the model's file names
    unified: bool = (
        True  # one buffer of cells for all slots, or an equal part for each; only the former can share cells
    )


def native_params(params: ContextParams) -> LlamaContextParams:
    """In llama.cpp's own form. Raises InvalidRequestError for a number of slots that it does not have."""
    lib = load_library()
    native, most = lib.llama_context_default_params(), lib.llama_max_parallel_sequences()
    if not 1 <= params.n_slots <= most:
        raise InvalidRequestError(f"n_slots must be between 1 and {most}, got {params.n_slots}", param="n_slots")
    native.n_ctx = params.n_ctx
    # llama.cpp reserves logits for a token of every sequence, and aborts where a batch could not have so many.
    native.n_batch, native.n_ubatch = max(params.n_batch, params.n_slots), params.n_ubatch
    native.n_seq_max = params.n_slots
    native.n_threads, native.n_threads_batch = params.threads, params.threads_batch
    native.type_k, native.type_v = _CACHE_TYPES[params.cache_type_k], _CACHE_TYPES[params.cache_type_v]
    native.flash_attn_type = int(params.flash_attn)
    native.embeddings = params.embeddings
    native.pooling_type = _POOLING_TYPES[params.pooling]
    native.kv_unified = params.unified
    native.no_perf = True
    return native  # type: ignore[no-any-return]


class Context(HandleOwner):
    """Owns a llama_context of a model. One thread at a time, but for close() and the abort flag.

    Raises ConfigError, naming the option, for a cache type or flash attention that this model's heads do not allow, and
    InsufficientMemoryError, with both numbers, if the cells and compute buffers would not fit into the available
    memory (cgroup limits counted), before anything is allocated.
    """

    def __init__(self, model: Model, params: ContextParams) -> None:
        self._lib = load_library()
        self._what = "the context"
        self.model = model
        self.params = params
        Process.current.check_computes()
        self._check_attention()
        native = native_params(params)
        self._check_memory(native)
        self.abort_flag = AbortFlag()
        self._parent = model
        whole = self._take(interruptible(lambda: self._make(native), nothing))
        self._memory: PartHandle | None = PartHandle.of(whole, self._lib.llama_get_memory(whole) or 0)
        # Whether steps leave anything behind. Encoders (BERT and its kin) compute a text in one step and forget it.
        self.has_memory = bool(self._memory)
        self._view: tuple[Batch, BatchView] | None = None  # of the batch that was last computed
        self.n_ctx = int(self._lib.llama_n_ctx(whole))
        # Whether a row costs the attention of its own cells only: our kernels skip what the mask excludes, ggml's do not.
        self.skips_masked_cells = (
            params.flash_attn
            and not model.has_gpu
            and all(
                self._lib.lc_kernels_attends(key, value, native.type_k, native.type_v)
                for key, value in model.attention_shape.pairs
            )
        )

    def _check_attention(self) -> None:
        params = self.params
        problem = self.model.attention_shape.problem(params.flash_attn, params.cache_type_k, params.cache_type_v)
        if problem is not None:
            raise problem

    def _make(self, native: LlamaContextParams) -> Handle:
        lib, model = self._lib, self.model.handle
        address = lib.lc_context_new(model, native)
        if not address:
            raise NativeError(f"llama.cpp cannot create a context for {self.model.path}: {lib.load_error()}")
        lib.attach_abort_flag(address, self.abort_flag)
        return Handle.own(address, lib.llama_free, lib, model, self.abort_flag)

    def _check_memory(self, native: LlamaContextParams) -> None:
        need = estimate_memory(self.model.path, self.model.params, native)
        output_bytes = self._output_bytes()
        wanted, available = need.context_bytes + need.compute_bytes + output_bytes, memory_available_bytes()
        if wanted > available:
            compute_bytes = need.compute_bytes + output_bytes
            raise InsufficientMemoryError(
                f"a context of {self.params.n_ctx} tokens needs {wanted / 2**20:.0f} MiB ({need.context_bytes / 2**20:.0f} for "
                f"KV cells, {compute_bytes / 2**20:.0f} for compute buffers) and {available / 2**20:.0f} MiB of memory are "
                "available: use a smaller n_ctx, a smaller n_ubatch or a quantized KV type",
                need_bytes=wanted,
                available_bytes=available,
                param="n_ctx",
            )
        event(logger, logging.DEBUG, "context_memory", kv_bytes=need.context_bytes, compute_bytes=need.compute_bytes)

    def _output_bytes(self) -> int:
        """Results of a whole batch, which llama.cpp allocates at the first one and reckons nowhere: where all tokens give
        vectors it keeps room for their logits too (llama_context::output_reserve)."""
        if not self.params.embeddings:
            return 0
        return 4 * self.params.n_batch * (self.model.n_vocab + self.model.n_embd_out)

    def memory_used(self) -> MemoryEstimate:
        """What this context and its model have allocated."""
        out = LcMemoryNeed()
        self._lib.check(self._lib.lc_memory_used(self.handle, out))
        return MemoryEstimate(out.model_bytes, out.context_bytes, out.compute_bytes)

    def close(self) -> None:
        """Closes the handle. A step in progress ends soon, with ClosedError."""
        super().close()
        self._memory = None
        self.abort_flag.set(True)

    # --- Steps --------------------------------------------------------------------------------------------------------

    def decode(self, batch: Batch) -> None:
        """Computes one batch. Raises NoCellsError (nothing changed), StepAborted, or NativeError."""
        self._run(self._lib.llama_decode, batch)

    def encode(self, batch: Batch) -> None:
        """As decode(), for the encoder of models that have one; no KV cells are used."""
        self._run(self._lib.llama_encode, batch)

    def _run(self, function: object, batch: Batch) -> None:
        assert callable(function)
        handle = self.handle
        self._check_batch(batch)
        if self._view is None or self._view[0] is not batch:
            self._view = (batch, BatchView(batch.tokens, batch.positions, batch.seq_ids, batch.wants_logits))
        struct = self._view[1].struct
        struct.n_tokens = batch.n_tokens
        Process.current.has_computed = True
        is_long = batch.n_tokens >= _LONG_TOKENS
        result = self._run_long(lambda: function(handle, struct)) if is_long else function(handle, struct)
        if result == _DECODED:
            return
        if result == _NO_CELLS:
            raise NoCellsError(f"no free KV cells for {batch.n_tokens} more tokens in a context of {self.n_ctx}")
        if result == _ABORTED:
            self.handle  # noqa: B018  raises ClosedError
            raise StepAborted
        raise NativeError(f"llama.cpp failed on a batch of {batch.n_tokens} tokens (status {result})")

    def _run_long(self, call: Callable[[], int]) -> int:
        try:
            return interruptible(call, lambda: self.abort_flag.set(True))
        except BaseException:
            self.abort_flag.set(False)
            raise

    def _check_batch(self, batch: Batch) -> None:
        # llama.cpp reads past its tables for some of these and aborts for others.
        n = batch.n_tokens
        if not 0 < n <= self.params.n_batch:
            raise InvalidRequestError(f"a batch has 1 to {self.params.n_batch} tokens, got {n}", param="n_batch")
        # As unsigned numbers, so that one look finds negative ones too.
        if int(batch.tokens[:n].view(np.uint32).max()) >= self.model.n_vocab:
            raise InvalidRequestError(
                f"a token is not in the vocabulary (0 to {self.model.n_vocab - 1})", param="tokens"
            )
        if int(batch.seq_ids[:n].view(np.uint32).max()) >= self.params.n_slots:
            raise InvalidRequestError(f"a slot is not in 0 to {self.params.n_slots - 1}", param="slot")

    def logits(self, row: int) -> Float32Array:
        """A copy of the logits (float32[n_vocab]) of batch index `row`, which must have asked for them."""
        handle = self.handle  # until what it points to is copied
        pointer = self._lib.llama_get_logits_ith(handle, row)
        if not pointer:
            raise InvalidRequestError(f"batch index {row} asked for no logits", param="row")
        return read_floats(pointer, self.model.n_vocab)

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only those before it."""
        return bool(self._lib.llama_get_causal_attn(self.handle))

    def embedding(self, slot: int) -> Float32Array:
        """What pooling made of the sequence in `slot` in the last step: float32[n_embd_out], not normalized; of a reranker
        its scores, float32[n_scores]."""
        handle = self.handle  # until what it points to is copied
        pooling = self._lib.llama_pooling_type(handle)
        if pooling == _POOLING_TYPES["none"]:
            raise UnsupportedError(f"{self.model.path} gives no pooled embeddings (pooling type {pooling})")
        pointer = self._lib.llama_get_embeddings_seq(handle, slot)
        if not pointer:
            raise InvalidRequestError(f"slot {slot} was not in the last step", param="slot")
        is_rank = pooling == _POOLING_TYPES["rank"]
        return read_floats(pointer, self.model.n_scores if is_rank else self.model.n_embd_out)

    def token_embeddings(self, n_tokens: int) -> Float32Array:
        """What the last step made of each of its tokens, where nothing is pooled: float32[n_tokens, n_embd_out], a copy."""
        handle = self.handle  # until what it points to is copied
        vectors = np.empty((n_tokens, self.model.n_embd_out), np.float32)
        for row in range(n_tokens):
            pointer = self._lib.llama_get_embeddings_ith(handle, row)
            if not pointer:
                raise InvalidRequestError(f"batch index {row} was not in the last step", param="row")
            vectors[row] = read_floats(pointer, vectors.shape[1])
        return vectors

    def set_threads(self, threads: int, threads_batch: int) -> None:
        """Threads for steps of one token, and for larger ones, from the next step on."""
        if threads < 1 or threads_batch < 1:
            raise InvalidRequestError("threads must be at least 1", param="threads")
        self._lib.llama_set_n_threads(self.handle, threads, threads_batch)

    @property
    def isolates_cells(self) -> bool:
        """Whether a cell of no number touches only those who attend to it. llama.cpp's attention other than flash multiplies
        masked cells by zero, and zero times NaN is NaN."""
        return self.params.flash_attn

    @property
    def threads(self) -> tuple[int, int]:
        """Threads for steps of one token, and for larger ones."""
        return self._lib.llama_n_threads(self.handle), self._lib.llama_n_threads_batch(self.handle)

    # --- Memory: positions are [start, end), end=-1 is the sequence's end --------------------------------------------------

    def _slot(self, *slots: int) -> PartHandle:
        memory = self._usable(self._memory)
        for slot in slots:
            if not 0 <= slot < self.params.n_slots:
                raise InvalidRequestError(f"slot {slot} is not in 0 to {self.params.n_slots - 1}", param="slot")
        if not memory:
            raise UnsupportedError(f"{self.model.path} keeps no memory between steps")
        return memory

    def clear(self) -> None:
        """Forgets all sequences."""
        self._lib.llama_memory_clear(self._slot(), False)

    def remove(self, slot: int, start: int = 0, end: int = -1) -> bool:
        """Removes positions of a sequence. False if this memory cannot remove a part (recurrent, sliding window); nothing is
        changed then. Removing a whole sequence always works."""
        return bool(self._lib.llama_memory_seq_rm(self._slot(slot), slot, start, end))

    def copy(self, source: int, target: int, start: int = 0, end: int = -1) -> None:
        """Makes positions of `source` part of `target` too; both share the cells."""
        self._lib.llama_memory_seq_cp(self._slot(source, target), source, target, start, end)

    def keep(self, slot: int) -> None:
        """Removes all sequences but one."""
        self._lib.llama_memory_seq_keep(self._slot(slot), slot)

    def shift(self, slot: int, start: int, end: int, delta: int) -> None:
        """Adds `delta` to positions of a sequence. Raises UnsupportedError if this memory cannot."""
        memory = self._slot(slot)
        if not self._lib.llama_memory_can_shift(memory):
            raise UnsupportedError(f"the memory of {self.model.path} cannot be shifted")
        kind = self.params.cache_type_k
        if BLOCK_SIZES[kind] > 1 and not self.model.attention_shape.rotates_whole_keys:
            # llama.cpp would cut such a part out of rows of blocks.
            raise UnsupportedError(f"keys of type {kind} cannot be shifted where positions rotate only a part of them")
        self._lib.llama_memory_seq_add(memory, slot, start, end, delta)

    def span(self, slot: int) -> tuple[int, int]:
        """First and last position that a sequence holds; (-1, -1) if it is empty."""
        memory = self._slot(slot)
        lib = self._lib
        return lib.llama_memory_seq_pos_min(memory, slot), lib.llama_memory_seq_pos_max(memory, slot)

    def save_state(self, slot: int) -> npt.NDArray[np.uint8]:
        """The cells of one sequence, for load_state() of a context with the same model, KV types and flash attention."""
        self._slot(slot)
        size = self._lib.llama_state_seq_get_size(self.handle, slot)
        buffer = np.empty(size, np.uint8)
        written = self._lib.llama_state_seq_get_data(self.handle, address_of(buffer), size, slot)
        if written == 0:
            raise NativeError(f"llama.cpp cannot save the state of slot {slot}")
        return buffer if written == size else buffer[:written].copy()

    def load_state(self, slot: int, state: npt.NDArray[np.uint8] | bytes) -> None:
        """Replaces a sequence by what save_state() gave. On NativeError the sequence is empty."""
        self.remove(slot)
        data = np.frombuffer(state, np.uint8)
        if not len(data) or self._lib.llama_state_seq_set_data(self.handle, address_of(data), len(data), slot) == 0:
            self.remove(slot)
            raise NativeError(
                f"llama.cpp cannot restore the state of slot {slot}: damaged, or there are too few free cells"
            )
