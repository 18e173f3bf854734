"""Keyword arguments of LLM, written out for help, editors and type checkers.

The declarations are EngineConfig (config.py), SamplingParams (sampling.py) and the fields of a request (messages.py); a test
holds that these types name the same fields. `OtherNames` are other libraries' names of the same (other_names.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from llmcore.engine.logits_processor import LogitsProcessor
from llmcore.messages import Priority, SpeculationMode


class EngineOptions(TypedDict, total=False):
    """Options of EngineConfig (docs/CONFIGURATION.md describes them), and other libraries' names of them."""

    model_path: str | bytes | os.PathLike[str]
    chat_template: str
    special_tokens_in_content: str
    n_ctx: int
    n_slots: int
    n_batch: int
    n_ubatch: int
    threads: int
    threads_batch: int
    flash_attn: str
    cache_type_k: str
    cache_type_v: str
    profile_dir: str
    self_check: str
    blas: str
    kernels: str
    repeatable: str
    mmap: bool
    repack: bool
    rpc_servers: str
    rpc_layers: int
    inter_token_high_s: float
    inter_token_normal_s: float
    inter_token_low_s: float
    step_max_s: float
    n_waiting_max: int
    n_waiting_tokens_max: int
    max_prompt_tokens: int
    ttft_max_s: float
    host_cache_bytes: int
    prefix_file: str
    prefix_dir: str
    prefix_dir_bytes: int
    pooling: str
    embed_dimensions: str
    context_shift: bool
    speculation: str
    draft_model: str
    worker_silent_s: float
    restart_wait_s: float
    # Other names.
    n_threads: int
    n_threads_batch: int
    num_ctx: int
    max_model_len: int
    use_mmap: bool


class SamplingOptions(TypedDict, total=False):
    """Fields of SamplingParams."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    repeat_penalty: float
    repeat_last_n: int
    frequency_penalty: float
    presence_penalty: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_penalty_last_n: int
    dry_sequence_breakers: Sequence[str]
    dynatemp_range: float
    dynatemp_exponent: float
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    logit_bias: Mapping[int, float]
    seed: int | None


class OtherNames(TypedDict, total=False):
    """Other libraries' names of the same arguments."""

    max_new_tokens: int
    max_completion_tokens: int
    num_predict: int
    n_predict: int
    repetition_penalty: float
    temp: float
    typical: float
    stop_sequences: Sequence[str]
    top_logprobs: int
    guided_json: Any
    guided_regex: str
    guided_grammar: str
    guided_choice: Sequence[str]
    logits_processors: Sequence[LogitsProcessor]


class GenerateOptions(SamplingOptions, OtherNames, total=False):
    """Keyword arguments of LLM.generate()."""

    n: int
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    min_tokens: int
    logprobs: int | None
    timeout_s: float | None
    priority: Priority
    suffix: str
    response_format: Any
    json_schema: Any
    regex: str | None
    grammar: str | None
    choice: Sequence[str] | None
    prompt_logprobs: int | None
    logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None
    speculation: SpeculationMode
    prediction: str | None


class PromptOptions(TypedDict, total=False):
    """Keyword arguments that concern the prompt of a chat."""

    tools: Sequence[Any] | None
    tool_choice: Literal["auto", "none", "required"] | Mapping[str, Any] | None
    parallel_tool_calls: bool
    reasoning_effort: str | None
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool


class ChatOptions(SamplingOptions, OtherNames, PromptOptions, total=False):
    """Keyword arguments of LLM.chat()."""

    n: int
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    min_tokens: int
    logprobs: int | None
    timeout_s: float | None
    priority: Priority
    response_format: Any
    json_schema: Any
    regex: str | None
    grammar: str | None
    choice: Sequence[str] | None
    prompt_logprobs: int | None
    logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None
    speculation: SpeculationMode
    prediction: str | None
