"""A context: the KV cells of a model, and the steps computed in them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from llmcore.batch import Batch
from llmcore.config import THREADS_MAX
from llmcore.errors import InsufficientMemoryError, InvalidRequestError, NativeError, UnsupportedError
from llmcore.llama.context_params import ContextParams, native_params
from llmcore.llama.ffi.abort_flag import AbortFlag
from llmcore.llama.ffi.arrays import Float32Array, address_of, read_floats
from llmcore.llama.ffi.batch_view import BatchView
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.structures import LcMemoryNeed, LlamaContextParams
from llmcore.llama.handle import BorrowedHandle, Handle, HandleOwner
from llmcore.llama.interruptible_call import call_interruptibly, no_stop
from llmcore.llama.kv_types import block_size
from llmcore.llama.memory_estimate import MemoryEstimate, estimate_memory
from llmcore.llama.model import Model
from llmcore.llama.pooling import POOLING_TYPES
from llmcore.llama.state_digest import with_digest, without_digest
from llmcore.log import event
from llmcore.machine.memory import memory_available_bytes
from llmcore.machine.process import Process
from llmcore.values import instance_of

logger = logging.getLogger(__name__)

# Results of llama_decode, by llama.h.
_DECODED, _NO_CELLS, _ABORTED, _INVALID_BATCH = 0, 1, 2, -1

# Steps of at least this many tokens may take seconds: they run in a thread of their own, so that Ctrl-C ends them.
_LONG_STEP_TOKENS = 32


class StepAborted(Exception):
    """The abort flag ended a step. Cells of its batch have undefined contents: remove them."""


class NoCellsError(NativeError):
    """Too few KV cells are free for the batch; nothing was changed."""

    code = "no_cells"


class Context(HandleOwner):
    """Owns a llama_context of a model. Used by one thread at a time, except close() and the abort flag.

    Raises ConfigError, naming the option, for a cache type or flash attention that the model's heads do not allow, and
    InsufficientMemoryError before anything is allocated, if cells and compute buffers exceed the available memory (including
    cgroup limits).
    """

    def __init__(self, model: Model, params: ContextParams) -> None:
        self.model = instance_of(Model, model, "model")
        self.params = instance_of(ContextParams, params, "params")
        self._lib = load_library()
        self._name = "the context"
        Process.current.check_computes()
        self._check_attention()
        native = native_params(params)
        self._check_memory(native)
        self.abort_flag = AbortFlag()
        self._parent = model
        handle = self._set_handle(call_interruptibly(lambda: self._create(native), no_stop))
        self._memory: BorrowedHandle | None = BorrowedHandle.create(handle, self._lib.llama_get_memory(handle) or 0)
        # False for encoders such as BERT: they compute a text in one step and keep no cells.
        self.has_memory = bool(self._memory)
        self._view: tuple[Batch, BatchView] | None = None  # of the batch that was last computed
        self.n_ctx = int(self._lib.llama_n_ctx(handle))
        self._n_batch = int(self._lib.llama_n_batch(handle))  # less than asked for if the context is smaller
        self.skips_masked_cells = self._skips_masked_cells()

    def _skips_masked_cells(self) -> bool:
        """True if attention of a row costs time for the row's own cells only. Our kernels skip masked cells, ggml's do not."""
        return self.params.flash_attn and self.model.attends(self.params.cache_type_k, self.params.cache_type_v)

    def _check_attention(self) -> None:
        params = self.params
        problem = self.model.attention_shape.problem(params.flash_attn, params.cache_type_k, params.cache_type_v)
        if problem is not None:
            raise problem

    def _create(self, native: LlamaContextParams) -> Handle:
        lib, model = self._lib, self.model.handle
        address = lib.lc_context_new(model, native)
        if not address:
            raise NativeError(f"llama.cpp cannot create a context for {self.model.path}: {lib.load_error()}")
        lib.attach_abort_flag(address, self.abort_flag)
        return Handle.create(address, lib.lc_context_free, lib, model, self.abort_flag)

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
        """Size of the output buffer of an embedding batch, which llama.cpp's estimate leaves out. If all tokens have embeddings,
        llama.cpp reserves logits for all of them, too (llama_context::output_reserve)."""
        if not self.params.embeddings:
            return 0
        return 4 * self.params.n_batch * (self.model.n_vocab + self.model.n_embd_out)

    def memory_used(self) -> MemoryEstimate:
        """Returns what this context and its model have allocated."""
        out = LcMemoryNeed()
        self._lib.check(self._lib.lc_memory_used(self.handle, out))
        return MemoryEstimate(out.model_bytes, out.context_bytes, out.compute_bytes)

    def close(self) -> None:
        """Ends the use of the context, and a step in progress, which raises ClosedError."""
        super().close()
        self._memory = None
        self.abort_flag.set(True)

    # --- Steps --------------------------------------------------------------------------------------------------------

    def decode(self, batch: Batch) -> None:
        """Computes one batch. Raises NoCellsError or InvalidRequestError (nothing changed), StepAborted, or NativeError."""
        self._compute(self._lib.llama_decode, batch)

    def encode(self, batch: Batch) -> None:
        """Computes one batch with the model's encoder, without KV cells. Raises as decode()."""
        self._compute(self._lib.llama_encode, batch)

    def _compute(self, function: object, batch: Batch) -> None:
        assert callable(function)
        handle = self.handle
        self._check_batch(batch)
        if self._view is None or self._view[0] is not batch:
            self._view = (batch, BatchView(batch.tokens, batch.positions, batch.seq_ids, batch.wants_logits))
        struct = self._view[1].struct
        struct.n_tokens = batch.n_tokens
        Process.current.has_computed = True
        is_long = batch.n_tokens >= _LONG_STEP_TOKENS
        result = self._call_long(lambda: function(handle, struct)) if is_long else function(handle, struct)
        if result == _DECODED:
            return
        if result == _NO_CELLS:
            raise NoCellsError(f"no free KV cells for {batch.n_tokens} more tokens in a context of {self.n_ctx}")
        if result == _ABORTED:
            self.handle  # noqa: B018  raises ClosedError
            raise StepAborted
        if result == _INVALID_BATCH and self.has_memory:
            self._check_positions(batch)
        raise NativeError(f"llama.cpp failed on a batch of {batch.n_tokens} tokens (status {result})")

    def _check_positions(self, batch: Batch) -> None:
        """Raises InvalidRequestError if a row does not begin where its sequence ends: llama.cpp refuses gaps and repetitions."""
        ends: dict[int, int] = {}
        for row in batch.rows:
            first, last = self.span(row.slot)
            end = ends.get(row.slot, last + 1 if first >= 0 else row.start)
            if row.start != end:
                problem = f"the next position of slot {row.slot} is {end}, got a row that starts at {row.start}"
                raise InvalidRequestError(problem, param="start")
            ends[row.slot] = end + row.n_tokens

    def _call_long(self, call: Callable[[], int]) -> int:
        try:
            return call_interruptibly(call, lambda: self.abort_flag.set(True))
        except BaseException:
            self.abort_flag.set(False)
            raise

    def _check_batch(self, batch: Batch) -> None:
        # llama.cpp reads past its tables for some of these and aborts for others.
        n = instance_of(Batch, batch, "batch").n_tokens
        if not 0 < n <= self._n_batch:
            raise InvalidRequestError(f"a batch has 1 to {self._n_batch} tokens, got {n}", param="n_batch")
        # Unsigned numbers: one comparison finds negative ones, too.
        if int(batch.tokens[:n].view(np.uint32).max()) >= self.model.n_vocab:
            raise InvalidRequestError(
                f"a token is not in the vocabulary (0 to {self.model.n_vocab - 1})", param="tokens"
            )
        if int(batch.seq_ids[:n].view(np.uint32).max()) >= self.params.n_slots:
            raise InvalidRequestError(f"a slot is not in 0 to {self.params.n_slots - 1}", param="slot")

    def logits(self, row: int) -> Float32Array:
        """Returns a copy of the logits (float32[n_vocab]) of batch index `row`, for which the batch must have asked."""
        handle = self.handle  # alive until the floats are copied
        pointer = self._lib.llama_get_logits_ith(handle, row)
        if not pointer:
            raise InvalidRequestError(f"batch index {row} asked for no logits", param="row")
        return read_floats(pointer, self.model.n_vocab)

    @property
    def is_causal(self) -> bool:
        """True if a token attends only to those before it."""
        return bool(self._lib.llama_get_causal_attn(self.handle))

    def embedding(self, slot: int) -> Float32Array:
        """Returns the pooled embedding of the sequence in `slot` after a step: float32[n_embd_out], not normalized; for a
        reranker its scores, float32[n_scores]."""
        handle = self.handle  # alive until the floats are copied
        pooling = self._lib.llama_pooling_type(handle)
        if pooling == POOLING_TYPES["none"]:
            raise UnsupportedError(f"{self.model.path} gives no pooled embeddings (pooling type {pooling})")
        pointer = self._lib.llama_get_embeddings_seq(handle, slot)
        if not pointer:
            raise InvalidRequestError(f"slot {slot} was not in the last step", param="slot")
        is_rank = pooling == POOLING_TYPES["rank"]
        return read_floats(pointer, self.model.n_scores if is_rank else self.model.n_embd_out)

    def token_embeddings(self, n_tokens: int) -> Float32Array:
        """Returns a copy of the last step's embeddings of single tokens (pooling "none"): float32[n_tokens, n_embd_out]."""
        handle = self.handle  # alive until the floats are copied
        vectors = np.empty((n_tokens, self.model.n_embd_out), np.float32)
        for row in range(n_tokens):
            pointer = self._lib.llama_get_embeddings_ith(handle, row)
            if not pointer:
                raise InvalidRequestError(f"batch index {row} was not in the last step", param="row")
            vectors[row] = read_floats(pointer, vectors.shape[1])
        return vectors

    def set_threads(self, threads: int, threads_batch: int) -> None:
        """Sets the threads for steps of one token, and for larger ones, from the next step on."""
        if not (1 <= threads <= THREADS_MAX and 1 <= threads_batch <= THREADS_MAX):
            raise InvalidRequestError(f"threads must be between 1 and {THREADS_MAX}", param="threads")
        self._lib.llama_set_n_threads(self.handle, threads, threads_batch)

    @property
    def isolates_cells(self) -> bool:
        """True if a NaN in a cell affects only the sequences that attend to it. llama.cpp's attention without flash multiplies
        masked cells by zero, and zero times NaN is NaN."""
        return self.params.flash_attn

    @property
    def threads(self) -> tuple[int, int]:
        """Numbers of threads for steps of one token, and for larger ones."""
        return self._lib.llama_n_threads(self.handle), self._lib.llama_n_threads_batch(self.handle)

    # --- KV cells: positions are [start, end), end=-1 is the sequence's end --------------------------------------------------

    def _memory_of(self, *slots: int) -> BorrowedHandle:
        memory = self._checked(self._memory)
        for slot in slots:
            if not 0 <= slot < self.params.n_slots:
                raise InvalidRequestError(f"slot {slot} is not in 0 to {self.params.n_slots - 1}", param="slot")
        if not memory:
            raise UnsupportedError(f"{self.model.path} keeps no memory between steps")
        return memory

    def clear(self) -> None:
        """Removes all sequences."""
        self._lib.llama_memory_clear(self._memory_of(), False)

    def remove(self, slot: int, start: int = 0, end: int = -1) -> bool:
        """Removes positions of a sequence. Returns False and changes nothing if this memory cannot remove a part (recurrent state,
        sliding window). Removing a whole sequence always works."""
        return bool(self._lib.llama_memory_seq_rm(self._memory_of(slot), slot, start, end))

    def copy(self, source: int, target: int, start: int = 0, end: int = -1) -> None:
        """Adds positions of `source` to `target`; both sequences share the cells."""
        self._lib.llama_memory_seq_cp(self._memory_of(source, target), source, target, start, end)

    def keep(self, slot: int) -> None:
        """Removes all sequences except one."""
        self._lib.llama_memory_seq_keep(self._memory_of(slot), slot)

    def shift(self, slot: int, start: int, end: int, delta: int) -> None:
        """Adds `delta` to positions of a sequence. Raises UnsupportedError if this memory cannot."""
        memory = self._memory_of(slot)
        if not self._lib.llama_memory_can_shift(memory):
            raise UnsupportedError(f"the memory of {self.model.path} cannot be shifted")
        kind = self.params.cache_type_k
        if block_size(kind) > 1 and not self.model.attention_shape.rotates_whole_keys:
            # llama.cpp would take a view of such a part that begins within a block of quantized numbers.
            raise UnsupportedError(f"keys of type {kind} cannot be shifted where positions rotate only a part of them")
        self._lib.llama_memory_seq_add(memory, slot, start, end, delta)

    def span(self, slot: int) -> tuple[int, int]:
        """Returns the first and last position of a sequence; (-1, -1) if it is empty."""
        memory = self._memory_of(slot)
        lib = self._lib
        return lib.llama_memory_seq_pos_min(memory, slot), lib.llama_memory_seq_pos_max(memory, slot)

    def save_state(self, slot: int) -> bytes:
        """Returns the cells of one sequence and a digest of them, for load_state() of a context with the same model, KV types and
        flash attention."""
        return with_digest(self.save_cells(slot))

    def load_state(self, slot: int, state: npt.NDArray[np.uint8] | bytes) -> None:
        """Replaces a sequence by the result of save_state(). Raises InvalidRequestError for a damaged one, and the sequence is as
        before; NativeError if there are too few free cells, and the sequence is empty then."""
        self._memory_of(slot)
        self.load_cells(slot, without_digest(state))

    def save_cells(self, slot: int) -> npt.NDArray[np.uint8]:
        """Returns the cells of one sequence in llama.cpp's form, for load_cells()."""
        self._memory_of(slot)
        size = self._lib.llama_state_seq_get_size(self.handle, slot)
        buffer = np.empty(size, np.uint8)
        written = self._lib.llama_state_seq_get_data(self.handle, address_of(buffer), size, slot)
        if written == 0:
            raise NativeError(f"llama.cpp cannot save the state of slot {slot}")
        return buffer if written == size else buffer[:written].copy()

    def load_cells(self, slot: int, cells: npt.NDArray[np.uint8] | bytes) -> None:
        """Replaces a sequence by the result of save_cells(), which must be undamaged. Raises NativeError, and the sequence is empty
        then."""
        self.remove(slot)
        data = np.frombuffer(cells, np.uint8)
        if not len(data) or self._lib.llama_state_seq_set_data(self.handle, address_of(data), len(data), slot) == 0:
            self.remove(slot)
            raise NativeError(
                f"llama.cpp cannot restore the state of slot {slot}: damaged, or there are too few free cells"
            )
