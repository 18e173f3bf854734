"""A loaded GGUF model: how it is loaded, and its sizes and metadata."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable

from llmcore.errors import ConfigError, InsufficientMemoryError, ModelArchitectureError, ModelError, ModelLoadAborted
from llmcore.gguf.header import GgufHeader
from llmcore.gguf.model_checks import check_model_metadata
from llmcore.gguf.model_kinds import check_kind
from llmcore.gguf.split_model import check_model_file
from llmcore.gguf.vocabulary_checks import Override, vocabulary_overrides
from llmcore.llama.attention_shape import AttentionShape, attention_shape
from llmcore.llama.ffi.abi import PINNED
from llmcore.llama.ffi.arrays import read_string
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.model_arguments import KvOverrides, RpcDevices
from llmcore.llama.ffi.structures import LlamaModelParams
from llmcore.llama.handle import Handle
from llmcore.llama.kernels import attends, log_kernels, use_kernels
from llmcore.llama.model_load import LoadProgress, ModelLoad, check_progress, path_of
from llmcore.llama.pooling import pooling_name
from llmcore.llama.rpc import check_server, parse_servers
from llmcore.llama.vocabulary import Vocabulary
from llmcore.log import event
from llmcore.machine.memory import memory_available_bytes
from llmcore.machine.process import Process

logger = logging.getLogger(__name__)

# llama_load_mode, by llama.h of the pinned source.
_LOAD_MODES = {"none": 0, "mmap": 1}
# llama.cpp's repacked weights abort (repack.cpp) for the four-dimensional activations that this one makes of several sequences.
_NOT_REPACKED = frozenset({"minimax-01"})

# Architectures that are not causal by llama.cpp's code (src/models), whatever their files say.
_NOT_CAUSAL = frozenset({"dream", "gemma-embedding", "llada", "llada-moe", "rnd1"})


class Model(Vocabulary):
    """Owns a llama_model. Read-only after loading, so any thread may use it.

    Args:
        path: a GGUF file; the first part of a split model.
        progress: called with 0..1 while loading; returning False stops (ModelLoadAborted).
        vocab_only: load the vocabulary and no weights.
        mmap: map the file instead of reading it.
        repack: repack weights for faster kernels (a copy in memory), if the architecture allows it.
        blas: use OpenBLAS in contexts from now on (process-wide).
        kernels: "auto", "off" or a level of our own kernels (kernels.py), from now on (process-wide). They use packed weights: a
            copy in memory, for which the file's pages are released.
        rpc_servers: machines that compute a part of the model, as "host:port,host:port".
        rpc_layers: the number of last layers that they compute; -1 for all.
        log_level: of the lines about the load.

    Raises ModelMissingError, ModelFormatError, ModelKindError, ModelTruncatedError, ModelSplitError, ModelArchitectureError,
    InsufficientMemoryError, ModelLoadAborted, RpcError, ConfigError (rpc_servers), or ModelError with llama.cpp's own message.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        *,
        progress: LoadProgress | None = None,
        vocab_only: bool = False,
        mmap: bool = True,
        repack: bool = True,
        blas: bool = False,
        kernels: str = "auto",
        rpc_servers: str = "",
        rpc_layers: int = -1,
        log_level: int = logging.INFO,
    ) -> None:
        self.path = path_of(path)
        check_progress(progress)
        self._name = f"the model {self.path}"
        if not vocab_only:
            Process.current.check_computes()
        self.header: GgufHeader = check_model_file(self.path)
        check_kind(self.header, vocab_only=vocab_only)
        self._lib = load_library()
        self._check_architecture()
        check_model_metadata(self.header, vocab_only=vocab_only)
        self.rpc_servers = parse_servers(rpc_servers)
        self._devices = self._rpc_devices()
        self.has_gpu = False
        if not vocab_only:
            self._check_memory()
        if blas != self._lib.lc_blas_enabled():
            self._lib.check(self._lib.lc_blas_enable(blas))
        self.uses_blas = blas
        self.kernels = "none" if vocab_only else use_kernels(kernels)
        self._kv_overrides = KvOverrides(self._overrides())
        self.params = self._params(vocab_only, mmap, repack, rpc_layers)
        self.packed_bytes = 0  # of the weights in the kernels' own layout
        self._set_vocabulary(self._load(progress, vocab_only, log_level))

    # --- Loading ------------------------------------------------------------------------------------------------------

    def _check_architecture(self) -> None:
        if not self._lib.lc_architecture_known(self.architecture.encode()):
            raise ModelArchitectureError(
                f"{self.path}: this build ({PINNED}) does not know architecture {self.architecture!r}: a later version "
                "may, if it is a language model",
                param="model_path",
            )

    def _rpc_devices(self) -> RpcDevices | None:
        """Returns the devices of the RPC servers; None without servers."""
        if not self.rpc_servers:
            return None
        protocol = self._lib.lc_rpc_protocol()
        if not protocol:
            message = "rpc_servers: this build has no RPC backend: build with CMAKE_ARGS=-DLLMCORE_RPC=ON"
            raise ConfigError(message, param="rpc_servers")
        for server in self.rpc_servers:
            check_server(server, protocol)
        devices = RpcDevices(self._lib, self.rpc_servers)
        event(logger, logging.INFO, "rpc_servers", servers=",".join(self.rpc_servers), free_bytes=devices.free_bytes)
        return devices

    def _check_memory(self) -> None:
        if self._devices is not None:
            device_bytes = self._devices.free_bytes
        else:
            # Without a list of devices llama.cpp uses the GPUs of this machine.
            device_bytes = self._lib.lc_gpu_free_bytes()
            self.has_gpu = device_bytes > 0
        available = memory_available_bytes() + device_bytes
        need = self.header.tensor_bytes
        if need > available:
            raise InsufficientMemoryError(
                f"{self.path} has {need / 2**20:.0f} MiB of weights and {available / 2**20:.0f} MiB of memory are available: "
                "use a smaller model or quantization, or a larger memory limit",
                need_bytes=need,
                available_bytes=available,
                param="model_path",
            )

    def _params(self, vocab_only: bool, mmap: bool, repack: bool, rpc_layers: int) -> LlamaModelParams:
        params: LlamaModelParams = self._lib.llama_model_default_params()
        params.vocab_only = vocab_only
        params.use_extra_bufts = repack and self.architecture not in _NOT_REPACKED
        params.load_mode = _LOAD_MODES["mmap" if mmap else "none"]
        params.kv_overrides = self._kv_overrides.address
        if self._devices is not None:
            params.devices, params.n_gpu_layers = self._devices.address, rpc_layers
        return params

    def _overrides(self) -> dict[str, Override]:
        """Returns the values that replace the file's own metadata, and logs them."""
        found = vocabulary_overrides(self.header)
        for key, value in found.items():
            theirs = self.header.metadata.get(key)
            if value is not False or theirs is True:
                event(logger, logging.WARNING, "vocabulary_mended", path=self.path, key=key, theirs=theirs, ours=value)
        return found

    def _load(self, progress: LoadProgress | None, vocab_only: bool, log_level: int) -> Handle:
        started, packed_before = time.monotonic(), self._lib.lc_kernels_packed_bytes()
        load = ModelLoad(self._lib, self.path, self.params, progress)
        handle = load.result()
        if load.is_stopped:
            raise ModelLoadAborted(f"loading {self.path} was stopped by its progress callback", param="model_path")
        if handle is None:
            raise ModelError(f"llama.cpp cannot load {self.path}: {load.reason}", param="model_path")
        self._set_handle(handle)
        if not vocab_only:
            event(logger, log_level, "model_loaded", path=self.path, load_s=time.monotonic() - started)
            self.packed_bytes = max(self._lib.lc_kernels_packed_bytes() - packed_before, 0)
            if self.packed_bytes:
                # Packed weights are not read from the file again. Pages of the others come back from the page cache.
                self._lib.check(self._lib.lc_mapping_release(os.fsencode(os.path.realpath(self.path))))
            log_kernels(self.kernels, self.packed_bytes, log_level)
        return handle

    # --- Properties ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def attention_shape(self) -> AttentionShape:
        """Lengths of the model's heads, from the file."""
        return attention_shape(self.header)

    def attends(self, cache_type_k: str, cache_type_v: str) -> bool:
        """True if our kernels compute the model's flash attention with cells of these types."""
        return not self.has_gpu and attends(self.attention_shape, cache_type_k, cache_type_v)

    @property
    def architecture(self) -> str:
        return str(self.header.metadata.get("general.architecture", ""))

    @property
    def build(self) -> str:
        """Version and commit of llama.cpp."""
        info = self._lib.build_info()
        return f"{info['llama_cpp']}-{info['llama_cpp_commit']}"

    @property
    def description(self) -> str:
        """llama.cpp's description, for example "llama 135M Q4_1"."""
        handle = self.handle
        return read_string(256, lambda buffer, size: self._lib.llama_model_desc(handle, buffer, size))

    @property
    def n_params(self) -> int:
        return int(self._lib.llama_model_n_params(self.handle))

    @property
    def size_bytes(self) -> int:
        """Size of all tensors."""
        return int(self._lib.llama_model_size(self.handle))

    @property
    def n_ctx_train(self) -> int:
        """Context length in tokens that the model was trained with."""
        return int(self._lib.llama_model_n_ctx_train(self.handle))

    @property
    def n_embd(self) -> int:
        return int(self._lib.llama_model_n_embd(self.handle))

    @property
    def n_embd_out(self) -> int:
        """Width of the model's output embeddings."""
        return int(self._lib.llama_model_n_embd_out(self.handle))

    @property
    def n_scores(self) -> int:
        """Number of scores that a reranker or classifier computes for a text."""
        return int(self._lib.llama_model_n_cls_out(self.handle))

    @property
    def pooling(self) -> str:
        """Pooling of token vectors that the file names: none, mean, cls, last or rank."""
        return pooling_name(self.header.number(f"{self.architecture}.pooling_type"))

    @property
    def has_rank_head(self) -> bool:
        """True if the model has weights that compute scores from a text's vector."""
        return any(tensor.name.startswith("cls.") for tensor in self.header.tensors)

    @property
    def can_generate(self) -> bool:
        """False for encoders: attention is not causal, so no token can be appended."""
        is_causal = self.header.metadata.get(f"{self.architecture}.attention.causal", True)
        return bool(is_causal) and self.has_decoder and self.architecture not in _NOT_CAUSAL

    @property
    def n_layer(self) -> int:
        return int(self._lib.llama_model_n_layer(self.handle))

    @property
    def n_head(self) -> int:
        return self._of_first_layer(self._lib.llama_model_n_head)

    @property
    def n_head_kv(self) -> int:
        return self._of_first_layer(self._lib.llama_model_n_head_kv)

    def _of_first_layer(self, function: Callable[[Handle], int]) -> int:
        """Returns a number of the first layer; 0 if only the vocabulary is loaded, for which llama.cpp would abort."""
        handle = self.handle
        return int(function(handle)) if self._lib.llama_model_n_layer(handle) else 0

    @property
    def n_swa(self) -> int:
        """Width of the sliding attention window in tokens; 0 without such a window."""
        return int(self._lib.llama_model_n_swa(self.handle))

    @property
    def has_encoder(self) -> bool:
        return bool(self._lib.llama_model_has_encoder(self.handle))

    @property
    def has_decoder(self) -> bool:
        return bool(self._lib.llama_model_has_decoder(self.handle))

    @property
    def is_recurrent(self) -> bool:
        return bool(self._lib.llama_model_is_recurrent(self.handle))

    @property
    def is_hybrid(self) -> bool:
        return bool(self._lib.llama_model_is_hybrid(self.handle))

    @property
    def metadata(self) -> dict[str, str]:
        """Scalar values of the file's metadata, as text."""
        lib, handle = self._lib, self.handle
        found: dict[str, str] = {}
        for i in range(lib.llama_model_meta_count(handle)):
            key = read_string(256, lambda b, n, i=i: lib.llama_model_meta_key_by_index(handle, i, b, n))  # type: ignore[misc]
            value = read_string(4096, lambda b, n, i=i: lib.llama_model_meta_val_str_by_index(handle, i, b, n))  # type: ignore[misc]
            found[key] = value
        return found

    @property
    def chat_template(self) -> str | None:
        """Jinja source of the file's chat template, or None."""
        return self._template(None)

    @property
    def tool_template(self) -> str | None:
        """Jinja source of the file's template for chats with tools, or None."""
        return self._template(b"tool_use")

    @property
    def rerank_template(self) -> str | None:
        """Text that a reranker expects, with {query} and {document} in it; None if it expects the two texts separated by tokens."""
        return self._template(b"rerank")

    def _template(self, name: bytes | None) -> str | None:
        source = self._lib.llama_model_chat_template(self.handle, name)
        return None if source is None else source.decode("utf-8", "replace")
