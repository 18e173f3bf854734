"""A loaded GGUF model: metadata, sizes, vocabulary, tokenize and detokenize."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from llmcore.errors import (
    ConfigError,
    InsufficientMemoryError,
    InvalidRequestError,
    ModelArchitectureError,
    ModelError,
    ModelLoadAborted,
    NativeError,
)
from llmcore.gguf.header import GgufHeader, check_model_file
from llmcore.gguf.model_checks import check_model_metadata
from llmcore.gguf.model_kinds import check_kind
from llmcore.gguf.vocabulary_checks import Override, vocabulary_overrides
from llmcore.llama.attention_shape import AttentionShape, attention_shape
from llmcore.llama.ffi.abi import PINNED
from llmcore.llama.ffi.arrays import Int32Array, address_of, function_address, read_string
from llmcore.llama.ffi.library import Library, load_library
from llmcore.llama.ffi.model_arguments import KvOverrides, RpcDevices
from llmcore.llama.ffi.structures import LlamaModelParams, ProgressCallback
from llmcore.llama.handle import Handle, HandleOwner, PartHandle
from llmcore.llama.interruptible import Aside
from llmcore.llama.kernels import log_kernels, use_kernels
from llmcore.llama.rpc import check_server, parse_servers
from llmcore.log import event
from llmcore.machine.memory import memory_available_bytes
from llmcore.machine.os_text import system_name
from llmcore.machine.process import Process
from llmcore.machine.threads import ThreadDecision
from llmcore.messages import ModelInfo

logger = logging.getLogger(__name__)

LoadProgress = Callable[[float], bool]

# llama_load_mode, by llama.h of the pinned source.
_LOAD_MODES = {"none": 0, "mmap": 1}
# These make activations of four dimensions of several sequences, at which llama.cpp's repacked weights abort (repack.cpp).
_NOT_REPACKED = frozenset({"minimax-01"})

# llama_pooling_type, in its order.
POOLINGS = ("none", "mean", "cls", "last", "rank")

# Architectures whose files need not say that they are not causal, since llama.cpp's code does (src/models).
_NOT_CAUSAL = frozenset({"dream", "gemma-embedding", "llada", "llada-moe", "rnd1"})

_NO_TOKEN = -1
# A count that llama.cpp, or the shim in its place, gives where there is none.
_FAILED = -(2**31)


class Model(HandleOwner):
    """Owns a llama_model and its vocabulary. Read-only after loading, so any thread may tokenize.

    Args:
        path: a GGUF file; of a split model its first part.
        progress: called with 0..1 while loading; returning False stops (ModelLoadAborted).
        vocab_only: load the vocabulary and no weights.
        mmap: map the file instead of reading it.
        repack: repack weights for faster kernels (a copy in memory), where the architecture allows it.
        blas: let OpenBLAS take part in contexts from now on (process-wide).
        kernels: "auto", "off" or a level of our own kernels (kernels.py), from now on (process-wide). They read packed weights:
            a copy in memory, in whose place the file's pages are let go.
        rpc_servers: machines that take a part of the model, as "host:port,host:port".
        rpc_layers: how many of its last layers they take; -1 is all.
        log_level: of the lines that tell how it was loaded.

    Raises ModelMissingError, ModelFormatError, ModelKindError, ModelTruncatedError, ModelSplitError, ModelArchitectureError,
    InsufficientMemoryError, ModelLoadAborted, RpcError, ConfigError (rpc_servers), or ModelError with llama.cpp's own words.
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
        self.path = os.fsdecode(path)
        self._what = f"the model {self.path}"
        if not vocab_only:
            Process.current.check_computes()
        self.header: GgufHeader = check_model_file(self.path)
        check_kind(self.header, vocab_only=vocab_only)
        self._lib = lib = load_library()
        if not lib.lc_architecture_known(self.architecture.encode()):
            raise ModelArchitectureError(
                f"{self.path}: this build ({PINNED}) does not know architecture {self.architecture!r}: a later version "
                "may, if it is a language model",
                param="model_path",
            )
        check_model_metadata(self.header, vocab_only=vocab_only)
        self.rpc_servers = parse_servers(rpc_servers)
        self._devices = self._remote_devices()
        self.has_gpu = False
        if not vocab_only:
            if self._devices is not None:
                elsewhere_bytes = self._devices.free_bytes
            else:
                # llama.cpp takes what GPUs there are, unless it is told devices.
                elsewhere_bytes = lib.lc_gpu_free_bytes()
                self.has_gpu = elsewhere_bytes > 0
            self._check_memory(elsewhere_bytes)
        if blas != lib.lc_blas_enabled():
            lib.check(lib.lc_blas_enable(blas))
        self.uses_blas = blas
        self.kernels = "none" if vocab_only else use_kernels(kernels)
        self.params = self._params(vocab_only, mmap, repack)
        if self._devices is not None:
            self.params.devices, self.params.n_gpu_layers = self._devices.address, rpc_layers
        self._kv_overrides = KvOverrides(self._overrides())
        self.params.kv_overrides = self._kv_overrides.address
        self.packed_bytes = 0  # of its weights, in the kernels' own layout
        whole = self._load(progress, vocab_only, log_level)
        self._vocab: PartHandle | None = PartHandle.of(whole, lib.llama_model_get_vocab(whole))
        self.n_vocab: int = lib.llama_vocab_n_tokens(self._vocab)

    # --- Loading and closing ------------------------------------------------------------------------------------------

    def _remote_devices(self) -> RpcDevices | None:
        """Returns the devices of the RPC servers; None for this machine alone."""
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

    def _check_memory(self, elsewhere_bytes: int) -> None:
        available = memory_available_bytes() + elsewhere_bytes
        need = self.header.tensor_bytes
        if need > available:
            raise InsufficientMemoryError(
                f"{self.path} has {need / 2**20:.0f} MiB of weights and {available / 2**20:.0f} MiB of memory are available: "
                "use a smaller model or quantization, or a larger memory limit",
                need_bytes=need,
                available_bytes=available,
                param="model_path",
            )

    def _params(self, vocab_only: bool, mmap: bool, repack: bool) -> LlamaModelParams:
        params: LlamaModelParams = self._lib.llama_model_default_params()
        params.vocab_only = vocab_only
        params.use_extra_bufts = repack and self.architecture not in _NOT_REPACKED
        params.load_mode = _LOAD_MODES["mmap" if mmap else "none"]
        return params

    def _overrides(self) -> dict[str, Override]:
        """Returns the values that replace the file's own metadata, each logged."""
        found = vocabulary_overrides(self.header)
        for key, value in found.items():
            theirs = self.header.metadata.get(key)
            if value is not False or theirs is True:
                event(logger, logging.WARNING, "vocabulary_mended", path=self.path, key=key, theirs=theirs, ours=value)
        return found

    def _load(self, progress: LoadProgress | None, vocab_only: bool, log_level: int) -> Handle:
        started, packed_before = time.monotonic(), self._lib.lc_kernels_packed_bytes()
        loading = _Loading(self._lib, self.path, self.params, progress)
        whole = loading.run()
        if loading.is_stopped:
            raise ModelLoadAborted(f"loading {self.path} was stopped by its progress callback", param="model_path")
        if whole is None:
            raise ModelError(f"llama.cpp cannot load {self.path}: {loading.reason}", param="model_path")
        self._take(whole)
        if not vocab_only:
            event(logger, log_level, "model_loaded", path=self.path, load_s=time.monotonic() - started)
            self.packed_bytes = max(self._lib.lc_kernels_packed_bytes() - packed_before, 0)
            if self.packed_bytes:
                # What was packed is not read from the file again; what was not comes back from the page cache at its first use.
                self._lib.check(self._lib.lc_mapping_release(os.fsencode(os.path.realpath(self.path))))
            log_kernels(self.kernels, self.packed_bytes, log_level)
        return whole

    def close(self) -> None:
        super().close()
        self._vocab = None

    # --- Properties ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def attention_shape(self) -> AttentionShape:
        """Lengths of its heads, by the file."""
        return attention_shape(self.header)

    @property
    def architecture(self) -> str:
        return str(self.header.metadata.get("general.architecture", ""))

    @property
    def build(self) -> str:
        """The llama.cpp that computes it: version and commit."""
        info = self._lib.build_info()
        return f"{info['llama_cpp']}-{info['llama_cpp_commit']}"

    @property
    def description(self) -> str:
        """llama.cpp's words for it, as "llama 135M Q4_1"."""
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
        """The context length in tokens that the model was trained for."""
        return int(self._lib.llama_model_n_ctx_train(self.handle))

    @property
    def n_embd(self) -> int:
        return int(self._lib.llama_model_n_embd(self.handle))

    @property
    def n_embd_out(self) -> int:
        """Width of an embedding that the model gives out."""
        return int(self._lib.llama_model_n_embd_out(self.handle))

    @property
    def n_scores(self) -> int:
        """Scores that a reranker or classifier gives of a text."""
        return int(self._lib.llama_model_n_cls_out(self.handle))

    @property
    def pooling(self) -> str:
        """How the vectors of a text's tokens become one, as the file names it: none, mean, cls, last or rank."""
        kind = self.header.number(f"{self.architecture}.pooling_type")
        return POOLINGS[kind] if 0 <= kind < len(POOLINGS) else "none"

    @property
    def has_rank_head(self) -> bool:
        """Whether there are weights that make scores of a text's vector."""
        return any(tensor.name.startswith("cls.") for tensor in self.header.tensors)

    @property
    def can_generate(self) -> bool:
        """False of encoders: where a token sees those behind it, none can be put behind the last one."""
        is_causal = self.header.metadata.get(f"{self.architecture}.attention.causal", True)
        return bool(is_causal) and self.has_decoder and self.architecture not in _NOT_CAUSAL

    @property
    def n_layer(self) -> int:
        return int(self._lib.llama_model_n_layer(self.handle))

    @property
    def n_head(self) -> int:
        return self._of_layers(self._lib.llama_model_n_head)

    @property
    def n_head_kv(self) -> int:
        return self._of_layers(self._lib.llama_model_n_head_kv)

    def _of_layers(self, function: Callable[[Handle], int]) -> int:
        """A number of the first layer; 0 where only the vocabulary is loaded: llama.cpp aborts there."""
        handle = self.handle
        return int(function(handle)) if self._lib.llama_model_n_layer(handle) else 0

    @property
    def n_swa(self) -> int:
        """Width of the sliding attention window in tokens; 0 without one."""
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
        """All scalar values of the file's metadata, as text."""
        lib, handle = self._lib, self.handle
        found: dict[str, str] = {}
        for i in range(lib.llama_model_meta_count(handle)):
            key = read_string(256, lambda b, n, i=i: lib.llama_model_meta_key_by_index(handle, i, b, n))  # type: ignore[misc]
            value = read_string(4096, lambda b, n, i=i: lib.llama_model_meta_val_str_by_index(handle, i, b, n))  # type: ignore[misc]
            found[key] = value
        return found

    @property
    def chat_template(self) -> str | None:
        """The Jinja source that the file carries, or None."""
        return self._template(None)

    @property
    def tool_template(self) -> str | None:
        """The same for chats with tools, or None."""
        return self._template(b"tool_use")

    @property
    def rerank_template(self) -> str | None:
        """The text that a reranker wants, with {query} and {document} in it; None where it wants the two side by side."""
        return self._template(b"rerank")

    def _template(self, name: bytes | None) -> str | None:
        source = self._lib.llama_model_chat_template(self.handle, name)
        return None if source is None else source.decode("utf-8", "replace")

    @property
    def vocab(self) -> PartHandle:
        """The native vocabulary. Raises as `handle`."""
        return self._usable(self._vocab)

    def _special(self, function: Callable[[PartHandle], int]) -> int | None:
        token = function(self.vocab)
        return None if token == _NO_TOKEN else int(token)

    @property
    def bos(self) -> int | None:
        """Beginning-of-sequence token id, or None."""
        return self._special(self._lib.llama_vocab_bos)

    @property
    def eos(self) -> int | None:
        """End-of-sequence token id, or None."""
        return self._special(self._lib.llama_vocab_eos)

    @property
    def eot(self) -> int | None:
        """End-of-turn token id, or None."""
        return self._special(self._lib.llama_vocab_eot)

    @property
    def sep(self) -> int | None:
        """Separator token id, or None."""
        return self._special(self._lib.llama_vocab_sep)

    @property
    def adds_sep(self) -> bool:
        """Whether a separator stands between two texts, besides EOS."""
        return bool(self._lib.llama_vocab_get_add_sep(self.vocab))

    @property
    def adds_eos(self) -> bool:
        """Whether tokenize(add_special=True) puts EOS last."""
        return bool(self._lib.llama_vocab_get_add_eos(self.vocab))

    @property
    def infill(self) -> tuple[int, int, int] | None:
        """Token ids that stand before a text, before what comes after a gap in it, and before what fills the gap; None if the
        model was not made for it."""
        lib = self._lib
        found = [
            self._special(each) for each in (lib.llama_vocab_fim_pre, lib.llama_vocab_fim_suf, lib.llama_vocab_fim_mid)
        ]
        before, after, gap = found
        return None if before is None or after is None or gap is None else (before, after, gap)

    @property
    def adds_bos(self) -> bool:
        """Whether tokenize(add_special=True) puts BOS first."""
        return bool(self._lib.llama_vocab_get_add_bos(self.vocab))

    def is_end(self, token: int) -> bool:
        """Whether a token ends the answer (EOS, EOT and their like)."""
        self.check_tokens((token,))
        return bool(self._lib.llama_vocab_is_eog(self.vocab, token))

    def is_control(self, token: int) -> bool:
        self.check_tokens((token,))
        return bool(self._lib.llama_vocab_is_control(self.vocab, token))

    # --- Text ---------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text.

        Args:
            add_special: put BOS before and EOS behind where the model wants them.
            parse_special: take `<|im_start|>` and its like in the text as the special tokens that they name. Off, they are
                plain text, which is what text of strangers must be.
        """
        ids: list[int] = self.token_ids(text, add_special=add_special, parse_special=parse_special).tolist()
        return ids

    def token_ids(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> Int32Array:
        """Like tokenize(), as an int32 array of shape (n_tokens,)."""
        lib, vocab = self._lib, self.vocab
        data = _utf8(text)
        tokens = np.empty(len(data) + 4, np.int32)
        n = lib.lc_tokenize(vocab, data, len(data), address_of(tokens), len(tokens), add_special, parse_special)
        if n < 0:
            if n == _FAILED:
                raise self._vocabulary_error() or InvalidRequestError("the text has more than 2**31 tokens")
            tokens = np.empty(-n, np.int32)
            n = lib.lc_tokenize(vocab, data, len(data), address_of(tokens), len(tokens), add_special, parse_special)
        if n < 0:
            raise self._vocabulary_error() or NativeError("llama_tokenize asked for a larger buffer twice")
        return tokens[:n]

    def tokens_at_least(self, text: str) -> int:
        """The least number of tokens that a text can have, found without tokenizing it; 0 where this tokenizer knows none."""
        longest, uncounted = self._token_bytes
        return -(-len(_utf8(text).translate(None, uncounted)) // longest) if longest else 0

    @cached_property
    def _token_bytes(self) -> tuple[int, bytes]:
        """Length of the longest text of a token (0: no bound), and the bytes that may become no token at all."""
        counted = np.zeros(256, np.uint8)
        longest: int = self._lib.lc_token_bytes_max(self.vocab, address_of(counted))
        return longest, bytes(np.flatnonzero(counted == 0).tolist())

    def detokenize(self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False) -> str:
        """The text of tokens; bytes that are not UTF-8 become U+FFFD.

        Args:
            remove_special: leave out the BOS and EOS that tokenize(add_special=True) adds.
            unparse_special: show special tokens as their text (`<|im_start|>`) instead of leaving them out.
        """
        return self.detokenize_bytes(tokens, remove_special=remove_special, unparse_special=unparse_special).decode(
            "utf-8", "replace"
        )

    def detokenize_bytes(
        self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> bytes:
        """As detokenize(), the bytes as they are."""
        self.check_tokens(tokens)
        ids = np.asarray(tokens, np.int32)
        size = 8 * len(ids) + 16
        while True:
            buffer = np.empty(size, np.uint8)
            n = self._lib.lc_detokenize(
                self.vocab, address_of(ids), len(ids), address_of(buffer), size, remove_special, unparse_special
            )
            if n >= 0:
                return buffer[:n].tobytes()
            if n == _FAILED:
                raise self._vocabulary_error() or InvalidRequestError("the text has more than 2**31 bytes")
            size = -n

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token as it continues a text; b"" for a special token unless `special`."""
        self.check_tokens((token,))
        size = 64
        while True:
            buffer = np.empty(size, np.uint8)
            n = self._lib.lc_token_to_piece(self.vocab, token, address_of(buffer), size, special)
            if n >= 0:
                return buffer[:n].tobytes()
            if n == _FAILED:
                raise self._vocabulary_error() or NativeError(f"llama.cpp has no text for token {token}")
            size = -n

    def _vocabulary_error(self) -> ModelError | None:
        """The reason that the last call of this thread failed for; None if it has none."""
        reason = self._lib.last_error()
        return ModelError(f"the vocabulary of {self.path} is faulty: {reason}", param="model_path") if reason else None

    @property
    def tokenizer_addresses(self) -> tuple[PartHandle, int]:
        """Addresses of the native vocabulary and of a function like llama_tokenize, for other native code, which must keep the
        former."""
        return self.vocab, function_address(self._lib.lc_tokenize_or_none)

    def check_tokens(self, tokens: Iterable[int]) -> None:
        """Raises InvalidRequestError for a token id that is not in the vocabulary."""
        # llama.cpp asserts (aborts the process) on a token id outside the vocabulary.
        self.handle  # noqa: B018  raises ClosedError
        n_vocab = self.n_vocab
        if not isinstance(tokens, Iterable):
            raise InvalidRequestError(f"tokens must be a sequence, got {type(tokens).__name__}", param="tokens")
        for token in tokens:
            if not isinstance(token, (int, np.integer)):
                raise InvalidRequestError(f"a token is an integer, got {token!r}", param="tokens")
            if not 0 <= token < n_vocab:
                raise InvalidRequestError(
                    f"token {token} is not in the vocabulary (0 to {n_vocab - 1})", param="tokens"
                )


class _Loading:
    """One load, aside from its caller, who is asked for the progress."""

    def __init__(self, lib: Library, path: str, params: LlamaModelParams, progress: LoadProgress | None) -> None:
        self._lib = lib
        self._path = os.fsencode(path)
        self._params = params
        self._progress = progress
        self._aside = Aside(self._call, self._stop)
        self.is_stopped = False
        self.reason = ""  # why llama.cpp cannot load it: the error of the thread that called

    def run(self) -> Handle | None:
        """None where the model cannot be loaded, or the load was stopped. Raises what `progress` raises."""
        return self._aside.run()

    def _stop(self) -> None:
        self.is_stopped = True

    def _call(self) -> Handle | None:
        # Used by reference as long as native code reads the structure, and not kept in it: the model outlives the load.
        report = ProgressCallback(self._report)
        self._params.progress_callback = report
        try:
            address = self._lib.lc_model_load(self._path, self._params)
            self.reason = "" if address else self._lib.load_error()
        finally:
            self._params.progress_callback = ProgressCallback()
        return Handle.own(address, self._lib.llama_model_free, self._lib) if address else None

    def _report(self, fraction: float, _user_data: object) -> bool:
        # In the native thread, where no signal is delivered: nothing here raises.
        progress = self._progress
        if progress is not None and not self.is_stopped:
            self.is_stopped = not self._aside.ask(lambda: progress(fraction))
        return not self.is_stopped


def model_info(model: Model, n_ctx: int, pooling: str = "none", threads: ThreadDecision | None = None) -> ModelInfo:
    """What is told of a model; `n_ctx` is that of the running context, 0 without one; `pooling` that of its embeddings."""
    return ModelInfo(
        path=system_name(model.path),
        description=model.description,
        architecture=model.architecture,
        n_params=model.n_params,
        size_bytes=model.size_bytes,
        n_vocab=model.n_vocab,
        n_embd=model.n_embd,
        n_layer=model.n_layer,
        n_ctx_train=model.n_ctx_train,
        n_ctx=n_ctx,
        has_chat_template=model.chat_template is not None,
        can_generate=model.can_generate,
        pooling=pooling,
        threads=threads,
    )


def _utf8(text: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidRequestError(f"the text must be a string, got {type(text).__name__}", param="text")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"the text is not valid Unicode: {error.reason} at character {error.start}") from None
