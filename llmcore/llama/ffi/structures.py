"""Structures and callbacks of llama.h and of the shim (native/shim/llmcore.h), under their C names.

They are written by hand; abi.py compares them with the headers when the library is loaded. The order is that of llama.h. Enums and
llama_token, llama_pos and llama_seq_id are 32-bit integers.
"""

from __future__ import annotations

import ctypes as C
from typing import ClassVar

ProgressCallback = C.CFUNCTYPE(C.c_bool, C.c_float, C.c_void_p)
LogCallback = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
AbortMessageCallback = C.CFUNCTYPE(None, C.c_char_p)


class NativeStructure(C.Structure):
    """A structure whose C name is `c_name` in the shim's ABI table."""

    c_name: ClassVar[str]


class LlamaModelParams(NativeStructure):
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


class LlamaContextParams(NativeStructure):
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


class LlamaBatch(NativeStructure):
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


class LlamaLogitBias(NativeStructure):
    c_name = "llama_logit_bias"
    _fields_ = [("token", C.c_int32), ("bias", C.c_float)]


class _LlamaModelKvOverrideValue(C.Union):
    _fields_ = [
        ("val_i64", C.c_int64),
        ("val_f64", C.c_double),
        ("val_bool", C.c_bool),
        ("val_str", C.c_char * 128),
    ]


class LlamaModelKvOverride(NativeStructure):
    c_name = "llama_model_kv_override"
    _anonymous_ = ("value",)
    _fields_ = [("tag", C.c_int), ("key", C.c_char * 128), ("value", _LlamaModelKvOverrideValue)]


class LlamaModelQuantizeParams(NativeStructure):
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


class LcSamplingParams(NativeStructure):
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
        ("logit_bias", C.POINTER(LlamaLogitBias)),
    ]


class LcSampleExtras(NativeStructure):
    c_name = "lc_sample_extras"
    _fields_ = [
        ("masks", C.POINTER(C.c_void_p)),
        ("n_mask_words", C.c_size_t),
        ("n_top", C.POINTER(C.c_int32)),
        ("stride", C.c_int32),
        ("tokens", C.c_void_p),
        ("logprobs", C.c_void_p),
    ]


class LcMemoryNeed(NativeStructure):
    c_name = "lc_memory_need"
    _fields_ = [("model_bytes", C.c_uint64), ("context_bytes", C.c_uint64), ("compute_bytes", C.c_uint64)]


class LcAbiEntry(NativeStructure):
    c_name = "lc_abi_entry"
    _fields_ = [("name", C.c_char_p), ("value", C.c_uint64), ("size", C.c_uint64)]


STRUCTS: tuple[type[NativeStructure], ...] = (
    LlamaModelParams,
    LlamaContextParams,
    LlamaBatch,
    LlamaLogitBias,
    LlamaModelKvOverride,
    LlamaModelQuantizeParams,
    LcSamplingParams,
    LcSampleExtras,
    LcMemoryNeed,
    LcAbiEntry,
)
