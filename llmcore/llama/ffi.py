"""The only module that knows ctypes: libllama's C functions, its parameter structures, and our shim (native/shim/llmcore.h).

One table of signatures is resolved at load; a missing function is a LibraryError that names the pinned version. The
structures are written by hand and checked at load against sizeof and offsetof as the shim's compiler saw them in the very
headers that it was built with: drift is an AbiError at import time, never memory corruption.

Every native call goes through a `Library`; the interpreter lock is released during each of them.
"""

from __future__ import annotations

import ctypes as C
import functools
import importlib.metadata
import json
import logging
import os
import re
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from llmcore.errors import AbiError, InvalidRequestError, LibraryError, NativeError
from llmcore.llama.interruptible import interruptible, nothing
from llmcore.llama.origin import check_functions, check_global_scope
from llmcore.machine.cpufeatures import check_cpu
from llmcore.machine.threads import brief_spinning

logger = logging.getLogger("llmcore.native")

LIBRARY_NAME = "libllmcore.so"
PINNED = "llama.cpp of llama-cpp-python 0.3.36 (native/llama.cpp.lock)"

ProgressCallback = C.CFUNCTYPE(C.c_bool, C.c_float, C.c_void_p)
LogCallback = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
AbortMessageCallback = C.CFUNCTYPE(None, C.c_char_p)

# --- Structures, in the order of llama.h. Enums and llama_token/pos/seq_id are 32-bit integers. ---------------------------


class _Struct(C.Structure):
    """A structure whose C name is `c_name` in the shim's ABI table."""

    c_name: ClassVar[str]


class ModelParams(_Struct):
    c_name = "llama_model_params"
    _fields_ = [
        ("devices", C.c_void_p),
        ("tensor_buft_overrides", C.c_void_p),
        ("n_gpu_layers", C.c_int32),
        ("split_mode", C.c_int32),
        ("load_mode", C.c_int32),
        ("lazy_mode", C.c_int32),
        ("main_gpu", C.c_int32),
        ("tensor_split", C.c_void_p),
        ("progress_callback", ProgressCallback),
        ("progress_callback_user_data", C.c_void_p),
        ("kv_overrides", C.c_void_p),
        ("vocab_only", C.c_bool),
        ("check_tensors", C.c_bool),
        ("use_extra_bufts", C.c_bool),
        ("no_host", C.c_bool),
        ("no_alloc", C.c_bool),
        ("load_mtp", C.c_bool),
    ]


class ContextParams(_Struct):
    c_name = "llama_context_params"
    _fields_ = [
        ("n_ctx", C.c_uint32),
        ("n_batch", C.c_uint32),
        ("n_ubatch", C.c_uint32),
        ("n_seq_max", C.c_uint32),
        ("n_rs_seq", C.c_uint32),
        ("n_outputs_max", C.c_uint32),
        ("n_outputs_max_per_seq", C.c_uint32),
        ("n_threads", C.c_int32),
        ("n_threads_batch", C.c_int32),
        ("ctx_type", C.c_int32),
        ("rope_scaling_type", C.c_int32),
        ("pooling_type", C.c_int32),
        ("attention_type", C.c_int32),
        ("flash_attn_type", C.c_int32),
        ("rope_freq_base", C.c_float),
        ("rope_freq_scale", C.c_float),
        ("yarn_ext_factor", C.c_float),
        ("yarn_attn_factor", C.c_float),
        ("yarn_beta_fast", C.c_float),
        ("yarn_beta_slow", C.c_float),
        ("yarn_orig_ctx", C.c_uint32),
        ("defrag_thold", C.c_float),
        ("cb_eval", C.c_void_p),
        ("cb_eval_user_data", C.c_void_p),
        ("type_k", C.c_int32),
        ("type_v", C.c_int32),
        ("abort_callback", C.c_void_p),
        ("abort_callback_data", C.c_void_p),
        ("embeddings", C.c_bool),
        ("offload_kqv", C.c_bool),
        ("no_perf", C.c_bool),
        ("op_offload", C.c_bool),
        ("swa_full", C.c_bool),
        ("kv_unified", C.c_bool),
        ("samplers", C.c_void_p),
        ("n_samplers", C.c_size_t),
        ("ctx_other", C.c_void_p),
    ]


class BatchStruct(_Struct):
    c_name = "llama_batch"
    _fields_ = [
        ("n_tokens", C.c_int32),
        ("token", C.c_void_p),
        ("embd", C.c_void_p),
        ("pos", C.c_void_p),
        ("n_seq_id", C.c_void_p),
        ("seq_id", C.c_void_p),
        ("logits", C.c_void_p),
    ]


class LogitBias(_Struct):
    c_name = "llama_logit_bias"
    _fields_ = [("token", C.c_int32), ("bias", C.c_float)]


class _OverrideValue(C.Union):
    _fields_ = [
        ("val_i64", C.c_int64),
        ("val_f64", C.c_double),
        ("val_bool", C.c_bool),
        ("val_str", C.c_char * 128),
    ]


class KvOverride(_Struct):
    c_name = "llama_model_kv_override"
    _anonymous_ = ("value",)
    _fields_ = [("tag", C.c_int), ("key", C.c_char * 128), ("value", _OverrideValue)]


class QuantizeParams(_Struct):
    c_name = "llama_model_quantize_params"
    _fields_ = [
        ("nthread", C.c_int32),
        ("ftype", C.c_int32),
        ("output_tensor_type", C.c_int32),
        ("token_embedding_type", C.c_int32),
        ("allow_requantize", C.c_bool),
        ("quantize_output_tensor", C.c_bool),
        ("only_copy", C.c_bool),
        ("pure", C.c_bool),
        ("keep_split", C.c_bool),
        ("dry_run", C.c_bool),
        ("imatrix", C.c_void_p),
        ("kv_overrides", C.c_void_p),
        ("tt_overrides", C.c_void_p),
        ("prune_layers", C.c_void_p),
        ("max_buf_size", C.c_size_t),
    ]


class SamplingStruct(_Struct):
    c_name = "lc_sampling_params"
    _fields_ = [
        ("seed", C.c_uint32),
        ("temperature", C.c_float),
        ("dynatemp_range", C.c_float),
        ("dynatemp_exponent", C.c_float),
        ("top_k", C.c_int32),
        ("top_p", C.c_float),
        ("min_p", C.c_float),
        ("typical_p", C.c_float),
        ("top_n_sigma", C.c_float),
        ("xtc_probability", C.c_float),
        ("xtc_threshold", C.c_float),
        ("repeat_penalty", C.c_float),
        ("repeat_last_n", C.c_int32),
        ("frequency_penalty", C.c_float),
        ("presence_penalty", C.c_float),
        ("dry_multiplier", C.c_float),
        ("dry_base", C.c_float),
        ("dry_allowed_length", C.c_int32),
        ("dry_penalty_last_n", C.c_int32),
        ("mirostat", C.c_int32),
        ("mirostat_tau", C.c_float),
        ("mirostat_eta", C.c_float),
        ("n_ctx", C.c_int32),
        ("n_dry_breakers", C.c_int32),
        ("dry_breakers", C.POINTER(C.c_char_p)),
        ("n_logit_bias", C.c_int32),
        ("logit_bias", C.POINTER(LogitBias)),
    ]


class SampleExtras(_Struct):
    c_name = "lc_sample_extras"
    _fields_ = [
        ("masks", C.POINTER(C.c_void_p)),
        ("n_mask_words", C.c_size_t),
        ("n_top", C.POINTER(C.c_int32)),
        ("stride", C.c_int32),
        ("tokens", C.c_void_p),
        ("logprobs", C.c_void_p),
    ]


class MemoryNeed(_Struct):
    c_name = "lc_memory_need"
    _fields_ = [("model_bytes", C.c_uint64), ("context_bytes", C.c_uint64), ("compute_bytes", C.c_uint64)]


class AbiEntry(_Struct):
    c_name = "lc_abi_entry"
    _fields_ = [("name", C.c_char_p), ("value", C.c_uint64), ("size", C.c_uint64)]


STRUCTS: tuple[type[_Struct], ...] = (
    ModelParams,
    ContextParams,
    BatchStruct,
    LogitBias,
    KvOverride,
    QuantizeParams,
    SamplingStruct,
    SampleExtras,
    MemoryNeed,
    AbiEntry,
)

# --- Functions: name, result, arguments. P is an opaque handle or plain memory. -------------------------------------------

P, S, I32, U32, I64, U64, F32, BOOL, SIZE = (
    C.c_void_p,
    C.c_char_p,
    C.c_int32,
    C.c_uint32,
    C.c_int64,
    C.c_uint64,
    C.c_float,
    C.c_bool,
    C.c_size_t,
)
PP = C.POINTER(C.c_void_p)

SIGNATURES: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("llama_print_system_info", S, ()),
    ("llama_backend_init", None, ()),
    ("llama_model_default_params", ModelParams, ()),
    ("llama_context_default_params", ContextParams, ()),
    ("llama_model_quantize_default_params", QuantizeParams, ()),
    ("llama_model_free", None, (P,)),
    ("llama_free", None, (P,)),
    ("llama_max_parallel_sequences", SIZE, ()),
    # model
    ("llama_model_get_vocab", P, (P,)),
    ("llama_model_n_ctx_train", I32, (P,)),
    ("llama_model_n_embd", I32, (P,)),
    ("llama_model_n_embd_out", I32, (P,)),
    ("llama_model_n_layer", I32, (P,)),
    ("llama_model_n_head", I32, (P,)),
    ("llama_model_n_head_kv", I32, (P,)),
    ("llama_model_n_swa", I32, (P,)),
    ("llama_model_n_cls_out", U32, (P,)),
    ("llama_model_size", U64, (P,)),
    ("llama_model_n_params", U64, (P,)),
    ("llama_model_desc", I32, (P, P, SIZE)),
    ("llama_model_meta_count", I32, (P,)),
    ("llama_model_meta_key_by_index", I32, (P, I32, P, SIZE)),
    ("llama_model_meta_val_str_by_index", I32, (P, I32, P, SIZE)),
    ("llama_model_chat_template", S, (P, S)),
    ("llama_model_has_encoder", BOOL, (P,)),
    ("llama_model_has_decoder", BOOL, (P,)),
    ("llama_model_is_recurrent", BOOL, (P,)),
    ("llama_model_is_hybrid", BOOL, (P,)),
    # vocabulary
    ("llama_vocab_n_tokens", I32, (P,)),
    ("llama_vocab_is_eog", BOOL, (P, I32)),
    ("llama_vocab_is_control", BOOL, (P, I32)),
    ("llama_vocab_bos", I32, (P,)),
    ("llama_vocab_eos", I32, (P,)),
    ("llama_vocab_eot", I32, (P,)),
    ("llama_vocab_sep", I32, (P,)),
    ("llama_vocab_fim_pre", I32, (P,)),
    ("llama_vocab_fim_suf", I32, (P,)),
    ("llama_vocab_fim_mid", I32, (P,)),
    ("llama_vocab_get_add_bos", BOOL, (P,)),
    ("llama_vocab_get_add_eos", BOOL, (P,)),
    ("llama_vocab_get_add_sep", BOOL, (P,)),
    # context
    ("llama_n_ctx", U32, (P,)),
    ("llama_pooling_type", I32, (P,)),
    ("llama_get_causal_attn", BOOL, (P,)),
    ("llama_get_memory", P, (P,)),
    ("llama_decode", I32, (P, BatchStruct)),
    ("llama_encode", I32, (P, BatchStruct)),
    ("llama_set_n_threads", None, (P, I32, I32)),
    ("llama_n_threads", I32, (P,)),
    ("llama_n_threads_batch", I32, (P,)),
    ("llama_set_abort_callback", None, (P, P, P)),
    ("llama_get_logits_ith", P, (P, I32)),
    ("llama_get_embeddings_ith", P, (P, I32)),
    ("llama_get_embeddings_seq", P, (P, I32)),
    # memory of a context
    ("llama_memory_clear", None, (P, BOOL)),
    ("llama_memory_seq_rm", BOOL, (P, I32, I32, I32)),
    ("llama_memory_seq_cp", None, (P, I32, I32, I32, I32)),
    ("llama_memory_seq_keep", None, (P, I32)),
    ("llama_memory_seq_add", None, (P, I32, I32, I32, I32)),
    ("llama_memory_seq_pos_min", I32, (P, I32)),
    ("llama_memory_seq_pos_max", I32, (P, I32)),
    ("llama_memory_can_shift", BOOL, (P,)),
    ("llama_state_seq_get_size", SIZE, (P, I32)),
    ("llama_state_seq_get_data", SIZE, (P, P, SIZE, I32)),
    ("llama_state_seq_set_data", SIZE, (P, P, SIZE, I32)),
    # the shim
    ("lc_last_error", S, ()),
    ("lc_string_free", None, (P,)),
    ("lc_set_callbacks", None, (LogCallback, AbortMessageCallback)),
    ("lc_model_load", P, (S, C.POINTER(ModelParams))),
    ("lc_context_new", P, (P, C.POINTER(ContextParams))),
    ("lc_quantize", I32, (S, S, C.POINTER(QuantizeParams), P)),
    ("lc_tokenize", I32, (P, S, I32, P, I32, BOOL, BOOL)),
    ("lc_tokenize_or_none", I32, (P, S, I32, P, I32, BOOL, BOOL)),
    ("lc_detokenize", I32, (P, P, I32, P, I32, BOOL, BOOL)),
    ("lc_token_to_piece", I32, (P, I32, P, I32, BOOL)),
    ("lc_abi_table", C.POINTER(AbiEntry), (C.POINTER(SIZE),)),
    ("lc_build_info", S, ()),
    ("lc_backends_load", I32, (S,)),
    ("lc_backends_json", I32, (PP,)),
    ("lc_gpu_free_bytes", C.c_uint64, ()),
    ("lc_blas_enable", I32, (BOOL,)),
    ("lc_blas_enabled", BOOL, ()),
    ("lc_architecture_known", BOOL, (S,)),
    ("lc_token_bytes_max", I32, (P, P)),
    ("lc_memory_required", I32, (S, C.POINTER(ModelParams), C.POINTER(ContextParams), C.POINTER(MemoryNeed))),
    ("lc_memory_used", I32, (P, C.POINTER(MemoryNeed))),
    ("lc_rpc_protocol", I32, ()),
    ("lc_rpc_devices", I32, (SIZE, C.POINTER(S), C.POINTER(P), SIZE, C.POINTER(C.c_uint64))),
    ("lc_sampler_new", P, (P, C.POINTER(SamplingStruct))),
    ("lc_sampler_free", None, (P,)),
    ("lc_sampler_reset", I32, (P,)),
    ("lc_sampler_prime", I32, (P, P, SIZE)),
    ("lc_sampler_set_grammar", I32, (P, P, S)),
    ("lc_sampler_accept", I32, (P, P, SIZE)),
    ("lc_sample", I32, (P, SIZE, P, P, C.POINTER(SampleExtras), P)),
    ("lc_sample_logits", I32, (P, P, SIZE, C.POINTER(I32))),
    ("lc_chat_new", P, (P, S)),
    ("lc_chat_free", None, (P,)),
    ("lc_chat_render", I32, (P, S, PP)),
    ("lc_chat_describe", I32, (P, PP)),
    ("lc_chat_parser_new", P, (S,)),
    ("lc_chat_parser_free", None, (P,)),
    ("lc_chat_parse", I32, (P, S, BOOL, PP)),
    ("lc_abort_if_set", BOOL, (P,)),
    ("lc_kernels_best", I32, ()),
    ("lc_kernels_runs", BOOL, (I32,)),
    ("lc_kernels_use", I32, (I32, I32)),
    ("lc_kernels_used", I32, ()),
    ("lc_kernels_attends", BOOL, (C.c_int64, C.c_int64, I32, I32)),
    ("lc_kernels_packed_bytes", C.c_uint64, ()),
    ("lc_kernels_unpacked_bytes", C.c_uint64, ()),
    ("lc_kernels_matmul", I32, (I32, I32, C.c_int64, C.c_int64, C.c_int64, P, P, P, I32)),
    (
        "lc_kernels_attention",
        I32,
        (*(I32,) * 4, *(C.c_int64,) * 7, P, P, P, P, P, C.c_float, C.c_float, C.c_float, P),
    ),
    ("lc_kernels_bandwidth", C.c_double, (I32,)),
    ("lc_kernels_flops", I32, (I32, PP)),
    ("lc_kernels_profile_start", None, ()),
    ("lc_kernels_profile_stop", I32, (PP,)),
    ("lc_mapping_release", I32, (S,)),
)

_LC_OK, _LC_ERR_INVALID, _LC_ERR_NATIVE, _LC_ERR_NO_MEMORY = range(4)


class AbiRow(NamedTuple):
    """What the shim says of one structure (value = its size) or field (value = its offset), in bytes."""

    value: int
    size: int


# --- Loading --------------------------------------------------------------------------------------------------------------


def library_dir() -> Path:
    """The folder of the native libraries: beside this file in a wheel, in site-packages of an editable install."""
    beside = Path(__file__).parents[1] / "lib"
    if (beside / LIBRARY_NAME).exists():
        return beside
    try:
        installed = Path(str(importlib.metadata.distribution("llmcore").locate_file("llmcore/lib")))
    except importlib.metadata.PackageNotFoundError:
        installed = beside
    if not (installed / LIBRARY_NAME).exists():
        raise LibraryError(f"{LIBRARY_NAME} is not installed: build llmcore first (make build, or pip install .)")
    return installed


def _field_names(struct: Any) -> list[str]:
    """Names of a structure's fields, with those of an anonymous union in the union's place."""
    unions = getattr(struct, "_anonymous_", ())
    return [found for name, kind, *_ in struct._fields_ for found in (_field_names(kind) if name in unions else [name])]


def abi_of(struct: type[_Struct]) -> dict[str, AbiRow]:
    """What ctypes makes of a structure, in the form of the shim's table."""
    rows = {struct.c_name: AbiRow(C.sizeof(struct), C.sizeof(struct))}
    for name in _field_names(struct):
        descriptor = getattr(struct, name)
        rows[f"{struct.c_name}.{name}"] = AbiRow(descriptor.offset, descriptor.size)
    return rows


def check_abi(native: Mapping[str, AbiRow], structs: Iterable[type[_Struct]] = STRUCTS) -> None:
    """Compares each structure with the shim's table, both ways. Raises AbiError naming the first difference."""
    for struct in structs:
        ours = abi_of(struct)
        theirs = {name: row for name, row in native.items() if name.partition(".")[0] == struct.c_name}
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise AbiError(
                    f"{name}: llmcore/llama/ffi.py has {_describe(ours.get(name))}, the headers of {PINNED} have "
                    f"{_describe(theirs.get(name))}; the binding and the native library do not belong together"
                )


def _describe(row: AbiRow | None) -> str:
    return "no such field" if row is None else f"offset or size {row.value}, {row.size} bytes"


class Library:
    """The loaded native libraries: each function of SIGNATURES is an attribute."""

    def __init__(self, folder: Path) -> None:
        check_global_scope(folder)
        try:
            self._handle = C.CDLL(str(folder / LIBRARY_NAME))
        except OSError as error:
            raise LibraryError(f"cannot load {folder / LIBRARY_NAME}: {error}") from None
        for name, result, arguments in SIGNATURES:
            try:
                function = getattr(self._handle, name)
            except AttributeError:
                raise LibraryError(f"the native library lacks {name}: it was not built from {PINNED}") from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        check_functions(((name, function_address(getattr(self, name))) for name, *_ in SIGNATURES), folder)
        check_abi(self.abi())
        self._abort_flags: weakref.WeakSet[AbortFlag] = weakref.WeakSet()
        self._log = LogCallback(NativeLog(lambda: any(flag.is_set for flag in self._abort_flags)))
        self._abort = AbortMessageCallback(_log_abort)
        self.lc_set_callbacks(self._log, self._abort)
        self.check(self.lc_backends_load(os.fsencode(folder)))
        self.llama_backend_init()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} is not in ffi.SIGNATURES")

    def abi(self) -> dict[str, AbiRow]:
        n = C.c_size_t()
        table = self.lc_abi_table(C.byref(n))
        return {table[i].name.decode(): AbiRow(table[i].value, table[i].size) for i in range(n.value)}

    def last_error(self) -> str:
        """Why the last call of the shim failed on this thread; "" if it did not."""
        return str(self.lc_last_error().decode("utf-8", "replace"))

    def check(self, status: int) -> None:
        """Turns a status of the shim into an exception."""
        if status == _LC_OK:
            return
        message = self.last_error()
        if status == _LC_ERR_INVALID:
            raise InvalidRequestError(message)
        if status == _LC_ERR_NO_MEMORY:
            raise MemoryError(message or "native code is out of memory")
        raise NativeError(message or f"native code failed with status {status}")

    def check_pointer(self, pointer: int | None, what: str) -> int:
        """A handle that native code made, or NativeError."""
        if not pointer:
            raise NativeError(f"{what} failed: {self.last_error() or 'see the log'}")
        return pointer

    def take_string(self, call: Callable[..., int], *arguments: object) -> str:
        """Calls a function of the shim whose last parameter is `char **out`, and frees what it gave."""
        out = C.c_void_p()
        self.check(call(*arguments, C.byref(out)))
        try:
            return C.string_at(out.value or 0).decode("utf-8", "replace")
        finally:
            self.lc_string_free(out)

    def watch(self, flag: AbortFlag) -> None:
        """While a watched flag is set, native log lines are debug lines."""
        self._abort_flags.add(flag)

    def build_info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(self.lc_build_info())
        return info

    def backends(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.take_string(self.lc_backends_json))
        return found


@functools.cache
def library() -> Library:
    """The process's native library. llama.cpp's own state (log, backends) is global, so there is one of it. Raises
    LibraryError."""
    folder = library_dir()
    check_cpu(folder)
    with brief_spinning():
        return interruptible(lambda: Library(folder), nothing)


# --- Logs -----------------------------------------------------------------------------------------------------------------

# ggml_log_level: 1 debug, 2 info, 3 warn, 4 error, 5 continues the line before. llama.cpp's "info" describes every tensor
# and buffer, which is a debug line to our users.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}


class NativeLog:
    """ggml's log callback: whole lines go to `logging`."""

    def __init__(self, is_aborting: Callable[[], bool] = lambda: False) -> None:
        self._is_aborting = is_aborting
        self._pending = ""
        self._level = logging.DEBUG

    def __call__(self, level: int, text: bytes | None, _user_data: object) -> None:
        # A callback that raises would print a traceback from ctypes and lose the line.
        if level in _LEVELS:
            # A step that was told to end is an error to llama.cpp, and none to us.
            self._level = logging.DEBUG if self._is_aborting() else _LEVELS[level]
        *lines, self._pending = (self._pending + (text or b"").decode("utf-8", "replace")).split("\n")
        for line in lines:
            if line.strip(" ."):
                logger.log(self._level, "%s", line.strip())


def _log_abort(message: bytes | None) -> None:
    logger.critical("native code aborts: %s", (message or b"").decode("utf-8", "replace").strip())


_FUNCTION = re.compile(r"^\w+: ")


def reason(lib: Library) -> str:
    """Why llama.cpp could not load a model or create a context, in one line: what it logged, without its functions' names."""
    lines = [_FUNCTION.sub("", line).strip() for line in lib.last_error().splitlines()]
    told = [line for line in lines if line and line != "failed to load model"]
    return "; ".join(dict.fromkeys(told or lines))


# --- Small conversions, so that no other module needs ctypes --------------------------------------------------------------

Int32Array = npt.NDArray[np.int32]
UInt32Array = npt.NDArray[np.uint32]
Float32Array = npt.NDArray[np.float32]


def address(array: npt.NDArray[Any]) -> int:
    """Address of an array's first element; the array must be kept alive by the caller."""
    data: int = array.__array_interface__["data"][0]  # a quarter of the time of array.ctypes.data
    return data


def int32_pointer(array: Int32Array) -> Any:
    """An array as `int32_t *`."""
    return array.ctypes.data_as(C.POINTER(C.c_int32))


def read_floats(pointer: int, count: int) -> Float32Array:
    """A copy of `count` floats at an address."""
    floats: Float32Array = np.ctypeslib.as_array(C.cast(pointer, C.POINTER(C.c_float)), (count,)).copy()
    return floats


def text_of(size: int, call: Callable[[object, int], int]) -> str:
    """A string that `call(buffer, size)` writes, snprintf-like: it returns the length needed, or a negative number."""
    while True:
        buffer = C.create_string_buffer(size)
        n = call(buffer, size)
        if n < size:
            return buffer.raw[: max(n, 0)].decode("utf-8", "replace")
        size = n + 1


class BatchView:
    """A llama_batch over the arrays of a batch.Batch, which must outlive it."""

    def __init__(
        self, tokens: Int32Array, positions: Int32Array, seq_ids: Int32Array, wants_logits: npt.NDArray[np.int8]
    ) -> None:
        n = len(tokens)
        self._n_seq_id = np.ones(n, np.int32)
        # seq_id is an array of pointers, one for each token, to its list of sequences: here each list has one.
        self._seq_id_lists = address(seq_ids) + np.arange(n, dtype=np.uint64) * np.uint64(seq_ids.itemsize)
        self._arrays = (tokens, positions, seq_ids, wants_logits)
        self.struct = BatchStruct(
            n_tokens=0,
            token=address(tokens),
            embd=None,
            pos=address(positions),
            n_seq_id=address(self._n_seq_id),
            seq_id=address(self._seq_id_lists),
            logits=address(wants_logits),
        )


class AbortFlag:
    """A flag in native memory that llama.cpp polls during a step; setting it needs no interpreter lock."""

    def __init__(self) -> None:
        self._value = C.c_bool(False)

    @property
    def is_set(self) -> bool:
        return bool(self._value.value)

    def set(self, value: bool) -> None:
        self._value.value = value

    def attach(self, lib: Library, context: int) -> None:
        """Makes a context (its handle) poll this flag."""
        lib.watch(self)
        lib.llama_set_abort_callback(context, C.cast(lib.lc_abort_if_set, C.c_void_p), C.addressof(self._value))


def sampling_struct(
    values: Mapping[str, float | int], breakers: Iterable[str], logit_bias: Mapping[int, float]
) -> tuple[SamplingStruct, list[object]]:
    """An lc_sampling_params and the objects that must outlive its use. Integers and floats are set by field name."""
    encoded = [text.encode() for text in breakers]
    breaker_array = (C.c_char_p * len(encoded))(*encoded)
    bias_array = (LogitBias * len(logit_bias))(*(LogitBias(token, bias) for token, bias in logit_bias.items()))
    struct = SamplingStruct(
        **values,
        n_dry_breakers=len(encoded),
        dry_breakers=C.cast(breaker_array, C.POINTER(C.c_char_p)),
        n_logit_bias=len(bias_array),
        logit_bias=C.cast(bias_array, C.POINTER(LogitBias)),
    )
    return struct, [encoded, breaker_array, bias_array]


class Extras:
    """What some rows of a draw need besides: an lc_sample_extras over arrays of its own.

    Args:
        masks: for each row, bits of the tokens that are allowed (uint32[(n_vocab + 31) // 32]), or None for all of them.
        n_top: for each row, how many most probable tokens to tell; negative, no log-probabilities at all.

    After the draw `tokens` and `logprobs` (int32 and float32[n_rows, stride]) hold each such row's drawn token, then its most
    probable ones.
    """

    def __init__(self, masks: Sequence[UInt32Array | None], n_top: Sequence[int]) -> None:
        n = len(masks)
        self._masks = list(masks)  # alive as long as their addresses are used
        self.stride = 1 + max(0, max(n_top))
        self.tokens = np.zeros((n, self.stride), np.int32)
        self.logprobs = np.zeros((n, self.stride), np.float32)
        self.struct = SampleExtras(
            masks=(C.c_void_p * n)(*(None if mask is None else address(mask) for mask in masks)),
            n_mask_words=max((len(mask) for mask in masks if mask is not None), default=0),
            n_top=(C.c_int32 * n)(*n_top) if max(n_top) >= 0 else None,
            stride=self.stride,
            tokens=address(self.tokens),
            logprobs=address(self.logprobs),
        )
        if all(mask is None for mask in masks):
            self.struct.masks = None


def sample(
    lib: Library, context: int, samplers: Sequence[int], rows: Sequence[int], extras: Extras | None = None
) -> list[int]:
    """lc_sample: one token for each (sampler, batch index) of the last step, in one crossing; -1 where a
    mask leaves none, -2 where the logits are broken."""
    n = len(samplers)
    out = (C.c_int32 * n)()
    struct = None if extras is None else C.byref(extras.struct)
    lib.check(lib.lc_sample(context, n, (C.c_void_p * n)(*samplers), (C.c_int32 * n)(*rows), struct, out))
    return list(out)


def function_address(function: Any) -> int:
    """Where a native function lies, for native code of others that is to call it."""
    return C.cast(function, C.c_void_p).value or 0


Pointers = C.Array[C.c_void_p]

# Devices of all servers of a model: one or a few each.
_N_RPC_DEVICES_MAX = 256


def rpc_devices(lib: Library, servers: Sequence[str]) -> tuple[Pointers, int]:
    """lc_rpc_devices: an array for ModelParams.devices, which must outlive the model's loading, and the free bytes there."""
    endpoints = (C.c_char_p * len(servers))(*(each.encode() for each in servers))
    devices, free_bytes = (C.c_void_p * _N_RPC_DEVICES_MAX)(), C.c_uint64()
    lib.check(lib.lc_rpc_devices(len(servers), endpoints, devices, len(devices), C.byref(free_bytes)))
    return devices, free_bytes.value


# llama_model_kv_override_type
_OVERRIDE_INT, _OVERRIDE_BOOL = 0, 2

Overrides = C.Array[KvOverride]


def kv_overrides(values: Mapping[str, bool | int]) -> Overrides:
    """An array for ModelParams.kv_overrides, which must outlive the model's loading."""
    array = (KvOverride * (len(values) + 1))()  # the last one has no key
    for each, (key, value) in zip(array, values.items(), strict=False):
        each.key = key.encode()
        if isinstance(value, bool):
            each.tag, each.val_bool = _OVERRIDE_BOOL, value
        else:
            each.tag, each.val_i64 = _OVERRIDE_INT, value
    return array


def address_of(array: Pointers | Overrides) -> int:
    return C.addressof(array)
