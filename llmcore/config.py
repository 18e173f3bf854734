"""Options of the engine, and the registry of all config classes.

Each option is declared once, as a field (machine/options.py). An unknown `LLMCORE_*` variable is an error. The service's configs
(app/config.py) are found by the entry points `llmcore.configs`, so that llmcore does not import the service.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, TypeVar

from llmcore.errors import ConfigError
from llmcore.machine.options import (
    ENV_PREFIX,
    ConfigClass,
    check_options,
    option_field,
    options,
    read_options,
    refuse_unknown,
)

# The largest context of n_ctx=0 (a model's own can be far beyond what a CPU serves in a reasonable time).
N_CTX_DEFAULT_MAX = 8192

# The most threads that ggml can use (GGML_MAX_N_THREADS).
THREADS_MAX = 512

# Kernel sets, slowest first, in the order of lc_kernels_* in native/shim/llmcore.h.
KERNEL_LEVELS = ("none", "avx2", "avxvnni", "avx512", "amx")
KERNEL_CHOICES = ("auto", "off", *KERNEL_LEVELS[1:])

Config = TypeVar("Config")

_LENGTHS = re.compile(r"|any|[1-9]\d{0,6}(,[1-9]\d{0,6})*")


@dataclass(frozen=True)
class EngineConfig:
    """The model to load, and the options of its engine. Raises ConfigError, naming the option, for an invalid value."""

    model_path: str = option_field(
        "", "GGUF file to load (of a split model: its first part)", env="MODEL_PATH", is_path=True
    )
    chat_template: str = option_field(
        "", "file with a Jinja chat template to use instead of the model's own", is_path=True
    )
    special_tokens_in_content: str = option_field(
        "text",
        "special tokens' texts (<|im_end|> and the like) in messages, tools and template variables: text keeps them plain text, so "
        "that a document cannot forge a turn; allow reads them as special tokens",
        choices=("text", "allow"),
    )
    n_ctx: int = option_field(
        0,
        f"size of the KV cache, shared by all sequences; 0 takes the model's own, at most {N_CTX_DEFAULT_MAX}",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    n_slots: int = option_field(8, "sequences computed at the same time", low=1, high=256)
    n_batch: int = option_field(
        0,
        "most tokens in one step; 0 takes what `llmcore tune` found for this machine and model, else 512",
        unit="tokens",
        low=0,
        high=65536,
    )
    n_ubatch: int = option_field(
        0,
        "tokens computed in one pass over the weights; 0 takes what `llmcore tune` found, else 512, but no more than n-batch",
        unit="tokens",
        low=0,
        high=65536,
    )
    threads: int = option_field(
        0,
        "threads for steps of one token; 0 takes what `llmcore tune` found, else what the machine and its "
        "limits allow; if OMP_NUM_THREADS is a list, its first number counts",
        env="OMP_NUM_THREADS",
        env_is_list=True,
        low=0,
        high=THREADS_MAX,
    )
    threads_batch: int = option_field(
        0, "threads for larger steps, such as those of prompts; 0 takes the value of threads", low=0, high=THREADS_MAX
    )
    flash_attn: str = option_field(
        "auto",
        "flash attention; auto takes what `llmcore tune` found, else measures once for each machine and "
        "model, with a full cache, and stores the result",
        choices=("auto", "on", "off"),
    )
    cache_type_k: str = option_field(
        "auto",
        "type of the cached keys; auto is measured like flash-attn; q8_0 needs heads whose length is a multiple of 32",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
    )
    cache_type_v: str = option_field(
        "auto",
        "type of the cached values; auto is measured like flash-attn; q8_0 needs flash attention, and heads whose length is a "
        "multiple of 32",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
    )
    profile_dir: str = option_field(
        "",
        "folder for measurements, made at the start and by `llmcore tune`; by default in the user's cache",
        is_path=True,
    )
    self_check: str = option_field(
        "auto",
        "auto compares a few tokens with plain llama.cpp, once for each machine, model and build, and does "
        "not use attention settings or kernels that compute wrongly; off skips the check",
        choices=("auto", "off"),
    )
    blas: str = option_field(
        "auto",
        "use OpenBLAS for large products; ggml's own kernels are usually faster; auto is off",
        choices=("auto", "on", "off"),
    )
    kernels: str = option_field(
        "auto",
        "our own kernels for weights, attention and the operations between them: auto takes the best that this CPU runs, "
        f"off leaves everything to ggml, a name ({', '.join(KERNEL_LEVELS[1:])}) is the highest level to use",
        choices=KERNEL_CHOICES,
    )
    repeatable: str = option_field(
        "auto",
        "on: a request has the same answer in any company and with any history, also on CPUs with AMX, whose kernels are then "
        "those of AVX-512, which makes prompts slower; settings that do not allow it are refused. auto: without AMX, with the "
        "settings that auto prefers (docs/API.md, Reproducibility)",
        choices=("auto", "on"),
    )
    mmap: bool = option_field(True, "map the model file instead of reading it")
    repack: bool = option_field(True, "repack weights at load for faster kernels; costs memory for the copy")
    rpc_servers: str = option_field(
        "",
        "machines that hold and compute part of the model, as host:port,host:port; each runs `llmcore "
        "rpc-server`. There are no keys and no encryption: private networks only. Needs a build with "
        "LLMCORE_RPC",
    )
    rpc_layers: int = option_field(
        -1, "number of the model's last layers on those machines; -1 is all", low=-1, high=100000
    )
    inter_token_high_s: float = option_field(
        0.15,
        "longest step while an answer of priority high is being generated; prompts get the rest of that time",
        unit="seconds",
        low=0.001,
        high=3600,
    )
    inter_token_normal_s: float = option_field(
        0.15, "the same for priority normal", unit="seconds", low=0.001, high=3600
    )
    inter_token_low_s: float = option_field(0.5, "the same for priority low", unit="seconds", low=0.001, high=3600)
    step_max_s: float = option_field(
        1.0,
        "longest step while no answer is being generated, and so the longest wait of a new request for its first step",
        unit="seconds",
        low=0.001,
        high=3600,
    )
    n_waiting_max: int = option_field(64, "requests that may wait for a slot; more are refused", low=0, high=100000)
    n_waiting_tokens_max: int = option_field(
        0,
        "prompt tokens that may wait to be computed; beyond that, requests are refused; 0 is no limit",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_prompt_tokens: int = option_field(
        0,
        "longest prompt; longer ones are refused; 0 is no limit but the context",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    ttft_max_s: float = option_field(
        300.0,
        "requests whose first token is predicted to come later are refused; 0 is no limit",
        unit="seconds",
        low=0,
        high=86400,
    )
    host_cache_bytes: int = option_field(
        -1,
        "host memory for sequences evicted from the KV cache; 0 turns it off, -1 takes a quarter of the "
        "memory available after loading (within container limits), at most 4 GiB",
        unit="bytes",
        low=-1,
        high=2**62,
    )
    prefix_file: str = option_field(
        "", "JSON file of prefixes to pin at start, see docs/API.md; computed before readiness", is_path=True
    )
    prefix_dir: str = option_field(
        "", "folder for the state of pinned prefixes, so that a restart loads them instead of computing", is_path=True
    )
    prefix_dir_bytes: int = option_field(
        4 * 2**30,
        "largest size of that folder: files of prefixes that are not pinned are deleted, the least recently "
        "used first; a prefix that does not fit beside the pinned ones is not kept; 0 is no limit",
        unit="bytes",
        low=0,
        high=2**62,
    )
    pooling: str = option_field(
        "auto",
        "how the vectors of a text's tokens become its embedding; auto takes what the model's file names; "
        "rank is for rerankers; a chat model gives embeddings only if a pooling is named here",
        choices=("auto", "mean", "cls", "last", "rank"),
    )
    embed_dimensions: str = option_field(
        "",
        "lengths to which requests may cut embeddings, as 256,512; for models that were trained for it; any "
        "allows every length",
    )
    context_shift: bool = option_field(
        False,
        "at the end of the context, forget the older half of the conversation and continue, instead of ending "
        "the answer",
    )
    speculation: str = option_field(
        "auto",
        "guesses of an answer's next tokens that a step verifies, so that it may give several tokens; the answer is the same "
        "without. text: from text seen before (the prompt, earlier answers, a request's prediction); model: from the draft model; "
        "auto: from text, and from the draft model if one is named; off: none",
        choices=("auto", "off", "text", "model"),
    )
    draft_model: str = option_field(
        "",
        "GGUF file of a small model with the same vocabulary, which drafts tokens for the model to verify (speculation auto or "
        "model); it takes memory for its weights and for as many cells as the model has",
        is_path=True,
    )

    worker_silent_s: float = option_field(
        120.0,
        "silence after which the engine's process counts as hung, is killed and restarted; a step may also "
        "take 30 times its predicted time, and loading an hour; 0: never",
        unit="seconds",
        low=0,
        high=86400,
    )
    restart_wait_s: float = option_field(
        60.0,
        "how long requests wait for the engine's process to restart after its death (those that it had not "
        "begun to answer, and up to n-waiting-max new ones); 0 refuses them at once",
        unit="seconds",
        low=0,
        high=86400,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.n_ubatch > self.n_batch > 0:
            raise ConfigError(f"n_ubatch ({self.n_ubatch}) must not exceed n_batch ({self.n_batch})", param="n_ubatch")
        if self.repeatable == "on":
            for name, refused in (
                ("kernels", ("off", "amx")),
                ("flash_attn", ("off",)),
                ("cache_type_k", ("f32",)),
                ("cache_type_v", ("f32",)),
            ):
                if (value := getattr(self, name)) in refused:
                    raise ConfigError(f"{name}={value} does not go with repeatable=on", param=name)
        if self.cache_type_v == "q8_0" and self.flash_attn != "on":
            raise ConfigError("cache_type_v=q8_0 needs flash_attn=on", param="cache_type_v")
        if not _LENGTHS.fullmatch(self.embed_dimensions):
            message = f"embed_dimensions must be lengths like 256,512, or any, got {self.embed_dimensions!r}"
            raise ConfigError(message, param="embed_dimensions")


def configs() -> dict[str, ConfigClass]:
    """Returns all config classes by name: engine, and those of installed packages (service, cluster)."""
    return {"engine": EngineConfig} | {each.name: each.load() for each in entry_points(group="llmcore.configs")}


def load(config: type[Config], flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """Reads a config from parsed flags and the environment. Raises ConfigError naming the flag or variable at fault, also for an
    unknown variable with our prefix."""
    if any(name.startswith(ENV_PREFIX) for name in environ):  # else there is no need to read the entry points
        refuse_unknown(environ, configs().values())
    return read_options(config, flags, environ)


def detach_paths(config: EngineConfig) -> tuple[EngineConfig, dict[str, bytes]]:
    """Returns the config without its paths, and the paths by option as bytes: one that is not UTF-8 cannot be sent as text."""
    values = {name: getattr(config, name) for name, _, option in options(type(config)) if option.is_path}
    without: dict[str, Any] = dict.fromkeys(values, "")
    return dataclasses.replace(config, **without), {name: os.fsencode(path) for name, path in values.items() if path}


def attach_paths(config: EngineConfig, paths: Mapping[str, bytes]) -> EngineConfig:
    """Puts the paths of detach_paths() back, possibly in a process of another locale."""
    decoded: dict[str, Any] = {name: os.fsdecode(path) for name, path in paths.items()}
    return dataclasses.replace(config, **decoded)
