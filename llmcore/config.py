"""Every option of the engine and the service, each declared once.

A field of EngineConfig or ServerConfig *is* the declaration: its flag, environment variable, check, help text and line in
docs/CONFIGURATION.md derive from it. Precedence: flag, then environment, then default. The environment variable of option
`n_ctx` is `LLMCORE_N_CTX`; a few have a short name besides (`MODEL_PATH`, `PORT`). An unknown `LLMCORE_*` variable is an
error, so that a misspelt one is never ignored.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmcore.errors import ConfigError
from llmcore.machine.os_text import system_name

ENV_PREFIX = "LLMCORE_"

# A model's own context can be far beyond what a CPU serves in a reasonable time: n_ctx=0 takes at most this many cells.
N_CTX_DEFAULT_MAX = 8192

# Variables with our prefix that are not options of the service: those of the build (native/cmake), and the user's file of
# models (hub.py).
_OTHER_ENV = frozenset({"LLMCORE_LLAMA_CPP_DIR", "LLMCORE_CACHE_DIR", "LLMCORE_MODEL_CONFIG"})

# Levels of our own kernels, in the order of lc_kernels_* in native/shim/llmcore.h, the faster the later.
KERNEL_LEVELS = ("none", "avx2", "avxvnni", "avx512", "amx")
KERNEL_CHOICES = ("auto", "off", *KERNEL_LEVELS[1:])

_LENGTHS = re.compile(r"|any|[1-9]\d{0,6}(,[1-9]\d{0,6})*")
# What browsers send: never a path, nor a slash at the end.
_ORIGIN = re.compile(r"https?://[^/\s,*]+")
# A name or an address without a port.
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]?")


@dataclass(frozen=True)
class Option:
    """An option, kept in its field's metadata. `unit` and `low`/`high` (inclusive) are for numbers, `choices` for strings.

    A string that `is_path` is kept as the system gave it (os.fsencode() makes its bytes again); any other is text.
    """

    help: str
    env: str = ""  # a short name besides LLMCORE_<NAME>
    env_is_list: bool = False  # the short name may hold numbers with commas between: the first counts
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    is_path: bool = False


def _option(default: Any, help: str, **details: Any) -> Any:
    return field(default=default, metadata={"option": Option(help=help, **details)})


@dataclass(frozen=True)
class EngineConfig:
    """What to load and how to run it. Raises ConfigError, naming the option, for a value it cannot take."""

    model_path: str = _option(
        "", "GGUF file to load (of a split model: its first part)", env="MODEL_PATH", is_path=True
    )
    chat_template: str = _option("", "file with a Jinja chat template to use instead of the model's own", is_path=True)
    n_ctx: int = _option(
        0,
        f"size of the KV cache, shared by all sequences; 0 takes the model's own, at most {N_CTX_DEFAULT_MAX}",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    n_slots: int = _option(8, "sequences that are computed at the same time", low=1, high=256)
    n_batch: int = _option(
        0,
        "tokens in one step at most; 0 takes what `llmcore tune` found for this machine and model, else 512",
        unit="tokens",
        low=0,
        high=65536,
    )
    n_ubatch: int = _option(
        0,
        "tokens computed in one pass over the weights; 0 takes what `llmcore tune` found, else 512, but no more than n-batch",
        unit="tokens",
        low=0,
        high=65536,
    )
    threads: int = _option(
        0,
        "threads for steps of one token; 0 takes what `llmcore tune` found, else what the machine and its limits allow; of a "
        "list in OMP_NUM_THREADS the first number counts",
        env="OMP_NUM_THREADS",
        env_is_list=True,
        low=0,
        high=1024,
    )
    threads_batch: int = _option(
        0, "threads for larger steps, as those for prompts; 0 takes the same as threads", low=0, high=1024
    )
    flash_attn: str = _option(
        "auto",
        "flash attention; auto takes what `llmcore tune` found, or measures once for each machine and model, at a full cache, "
        "and remembers what was faster",
        choices=("auto", "on", "off"),
    )
    cache_type_k: str = _option(
        "auto",
        "type of the cached keys; auto is measured like flash-attn; q8_0 needs heads whose length is a multiple of 32",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
    )
    cache_type_v: str = _option(
        "auto",
        "type of the cached values; auto is measured like flash-attn; q8_0 needs flash attention, and heads whose length is a "
        "multiple of 32",
        choices=("auto", "f32", "f16", "bf16", "q8_0"),
    )
    profile_dir: str = _option(
        "",
        "folder of what was measured, at the start and by `llmcore tune`; by default one in the user's cache",
        is_path=True,
    )
    self_check: str = _option(
        "auto",
        "auto compares a few tokens, as attention settings and kernels compute them, with plain llama.cpp, once for each machine, "
        "model and build, and falls back from what computes wrongly; off trusts them",
        choices=("auto", "off"),
    )
    blas: str = _option(
        "auto",
        "let OpenBLAS take part in large products; ggml's own kernels are usually faster; auto is off",
        choices=("auto", "on", "off"),
    )
    kernels: str = _option(
        "auto",
        "our own kernels for weights, attention and what lies between them: auto takes the best that this CPU runs, off leaves "
        f"everything to ggml, a name ({', '.join(KERNEL_LEVELS[1:])}) is the level not to go beyond",
        choices=KERNEL_CHOICES,
    )
    mmap: bool = _option(True, "map the model file instead of reading it")
    repack: bool = _option(True, "repack weights at load for faster kernels; costs memory for the copy")
    rpc_servers: str = _option(
        "",
        "machines that hold and compute a part of the model, as host:port,host:port; each runs `llmcore rpc-server`. Without "
        "keys or encryption: private networks only; needs a build with LLMCORE_RPC",
    )
    rpc_layers: int = _option(
        -1, "how many of the model's last layers those machines take; -1 is all of them", low=-1, high=100000
    )
    inter_token_high_s: float = _option(
        0.15,
        "longest step while an answer of priority high is being generated: prompts get what is left of it",
        unit="seconds",
        low=0.001,
        high=3600,
    )
    inter_token_normal_s: float = _option(0.15, "the same for priority normal", unit="seconds", low=0.001, high=3600)
    inter_token_low_s: float = _option(0.5, "the same for priority low", unit="seconds", low=0.001, high=3600)
    step_max_s: float = _option(
        1.0,
        "longest step while no answer is being generated: a new request waits no longer for its first step",
        unit="seconds",
        low=0.001,
        high=3600,
    )
    n_waiting_max: int = _option(64, "requests that may wait for a slot; more are refused", low=0, high=100000)
    n_waiting_tokens_max: int = _option(
        0,
        "tokens of prompts that may wait to be computed; beyond them requests are refused; 0 is no limit",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_prompt_tokens: int = _option(
        0,
        "tokens of a prompt; longer ones are refused; 0 is no limit but the context",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    ttft_max_s: float = _option(
        300.0,
        "requests whose first token is predicted to come later than this are refused; 0 is no limit",
        unit="seconds",
        low=0,
        high=86400,
    )
    host_cache_bytes: int = _option(
        -1,
        "host memory for sequences that were evicted from the KV cache; 0 turns it off, -1 takes a quarter of what is "
        "available after loading (container limits counted), at most 4 GiB",
        unit="bytes",
        low=-1,
        high=2**62,
    )
    prefix_file: str = _option(
        "", "JSON file of prefixes to pin at start, see docs/API.md; computed before readiness", is_path=True
    )
    prefix_dir: str = _option(
        "", "folder that keeps computed pinned prefixes, so that a restart finds them warm", is_path=True
    )
    prefix_dir_bytes: int = _option(
        4 * 2**30,
        "size of that folder at most: files of prefixes that are not pinned go, those first that have not been used for "
        "longest; what does not fit beside pinned ones is not kept; 0 is no limit",
        unit="bytes",
        low=0,
        high=2**62,
    )
    pooling: str = _option(
        "auto",
        "how the vectors of a text's tokens become its embedding; auto takes what the model's file names; rank is for "
        "rerankers; a chat model gives embeddings only where this names one",
        choices=("auto", "mean", "cls", "last", "rank"),
    )
    embed_dimensions: str = _option(
        "",
        "lengths that embeddings may be cut to at a request's wish, as 256,512: for models that were trained for it; any "
        "allows every length",
    )
    context_shift: bool = _option(
        False,
        "at the end of the context, forget the older half of the conversation and go on, instead of ending the answer",
    )

    worker_silent_s: float = _option(
        120.0,
        "silence after which the engine's process is taken for hung, killed and started again; a long step is granted 30 times "
        "its predicted time besides, and loading an hour; 0: never",
        unit="seconds",
        low=0,
        high=86400,
    )
    restart_wait_s: float = _option(
        60.0,
        "how long requests wait for the engine's process to come back after its death (as many as n-waiting-max new ones, and "
        "those that it had not begun to answer); 0 refuses them at once",
        unit="seconds",
        low=0,
        high=86400,
    )

    def __post_init__(self) -> None:
        _check(self)
        if self.n_ubatch > self.n_batch > 0:
            raise ConfigError(f"n_ubatch ({self.n_ubatch}) must not exceed n_batch ({self.n_batch})", param="n_ubatch")
        if self.cache_type_v == "q8_0" and self.flash_attn != "on":
            raise ConfigError("cache_type_v=q8_0 needs flash_attn=on", param="cache_type_v")
        if not _LENGTHS.fullmatch(self.embed_dimensions):
            message = f"embed_dimensions must be lengths like 256,512, or any, got {self.embed_dimensions!r}"
            raise ConfigError(message, param="embed_dimensions")


@dataclass(frozen=True)
class ServerConfig:
    """The HTTP service around the engine."""

    host: str = _option("127.0.0.1", "address to listen on", env="HOST")
    port: int = _option(8001, "port to listen on; 0 takes a free one", env="PORT", low=0, high=65535)
    model_name: str = _option(
        "", "the model's id in /v1/models; by default the file's name without .gguf", env="MODEL_NAME"
    )
    max_tokens_default: int = _option(
        0,
        "answer length where a request names none; 0 is up to the end of the context",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_body_bytes: int = _option(4 * 2**20, "largest request body", unit="bytes", low=1024, high=2**31 - 1)
    n_connections_max: int = _option(
        2048,
        "connections at the same time, from accept to close; on further ones all but probes is a 503. No more than the limit of "
        "open files allows",
        low=1,
        high=1_000_000,
    )
    head_timeout_s: float = _option(
        10.0,
        "time for the head of a request to come, and before that for a TLS handshake",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    body_timeout_s: float = _option(30.0, "time for the body of a request to come", unit="seconds", low=0.1, high=3600)
    send_timeout_s: float = _option(
        30.0,
        "time in which a client must read on; after it the connection is cut and its request cancelled",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    drain_s: float = _option(
        25.0, "after SIGTERM, time for running answers to finish", unit="seconds", low=0, high=3600
    )
    sse_keep_alive_s: float = _option(
        10.0, "silence of a stream after which a comment keeps it alive; 0: never", unit="seconds", low=0, high=3600
    )
    debug: bool = _option(False, "serve GET /debug/engine: slots, cache and queue, without any text")
    api_keys_file: str = _option(
        "",
        "file of API keys, a line for each as `llmcore key NAME` prints it; where there are keys, requests need one",
        is_path=True,
    )
    api_keys: str = _option("", "API keys as NAME:SHA256, separated by commas; those of the file are added")
    keys_everywhere: bool = _option(
        False, "where there are keys, ask for one at /metrics, /docs and /openapi.json too; health routes stay open"
    )
    key_requests_per_minute: int = _option(
        0, "requests of each API key, unless its line says otherwise; 0 is no limit", low=0, high=2**31 - 1
    )
    key_tokens_per_minute: int = _option(
        0, "tokens of each API key, prompts and answers; 0 is no limit", unit="tokens", low=0, high=2**31 - 1
    )
    key_concurrent: int = _option(
        0, "requests of each API key that may be under way at once; 0 is no limit", low=0, high=100000
    )
    prefix_isolation: str = _option(
        "off",
        "key: requests of different API keys share no cached prefix but pinned ones, so that nobody can tell by the time of "
        "an answer what another key has asked",
        choices=("off", "key"),
    )
    cors_origins: str = _option(
        "",
        "origins whose pages may call from a browser, as https://a.example,https://b.example; * is all of them. Without API keys, "
        "requests of other pages are refused",
    )
    allowed_hosts: str = _option(
        "",
        "names by which the service may be reached besides loopback ones and addresses, as llm.example,*.internal; * is all of "
        "them. By default any, but loopback ones only where it listens on loopback without API keys: a proxy on the same machine "
        "passes on another",
    )
    tls_cert: str = _option("", "PEM file of the certificate (and its chain): serve HTTPS", is_path=True)
    tls_key: str = _option(
        "", "PEM file of its private key, not encrypted; by default in the certificate's file", is_path=True
    )
    admin_port: int = _option(
        -1,
        "port of a second listener, which alone has /metrics and /debug then; 0 takes a free one, -1 is none",
        low=-1,
        high=65535,
    )
    admin_host: str = _option("127.0.0.1", "address of that listener")
    max_messages: int = _option(
        2048, "messages of a chat request, or items of a response's input; 0 is no limit", low=0, high=2**31 - 1
    )
    max_prompt_chars: int = _option(
        0,
        "characters of a prompt: of its text, or of messages and tools as JSON; 0: as many as the context can hold",
        low=0,
        high=2**31 - 1,
    )
    max_answer_tokens: int = _option(
        0,
        "longest answer that a request may ask for, and gets where it names none; 0 is no limit",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_request_s: float = _option(
        0.0,
        "longest timeout that a request may ask for, and gets where it names none; 0 is no limit",
        unit="seconds",
        low=0,
        high=86400,
    )
    log_level: str = _option("info", "least severe log line to print", choices=("debug", "info", "warning", "error"))

    def __post_init__(self) -> None:
        _check(self)
        if not self.api_keys_file and not self.api_keys:
            needing = ("keys_everywhere", "prefix_isolation", "key_requests_per_minute", "key_tokens_per_minute")
            for name in (*needing, "key_concurrent"):
                if getattr(self, name) not in (False, 0, "off"):
                    raise ConfigError(f"{name} needs api_keys_file or api_keys", param=name)
        if self.tls_key and not self.tls_cert:
            raise ConfigError("tls_key needs tls_cert", param="tls_key")
        if 0 < self.max_answer_tokens < self.max_tokens_default:
            problem = (
                f"max_tokens_default ({self.max_tokens_default}) exceeds max_answer_tokens ({self.max_answer_tokens})"
            )
            raise ConfigError(problem, param="max_tokens_default")
        for origin in self.origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                problem = f"cors_origins must be origins like https://a.example:8080, or *, got {origin!r}"
                raise ConfigError(problem, param="cors_origins")
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                problem = f"allowed_hosts must be names like llm.example or *.example, without ports, got {host!r}"
                raise ConfigError(problem, param="allowed_hosts")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Returns the host names of allowed_hosts."""
        return tuple(each.strip() for each in self.allowed_hosts.split(",") if each.strip())

    @property
    def origins(self) -> tuple[str, ...]:
        """Of cors_origins."""
        return tuple(each.strip() for each in self.cors_origins.split(",") if each.strip())


@dataclass(frozen=True)
class ClusterConfig:
    """Replicas of the service behind Ray Serve (`python -m llmcore_app.cluster`)."""

    n_replicas: int = _option(2, "replicas that are always there", low=1, high=10000)
    n_replicas_max: int = _option(
        0, "replicas at most, while requests wait in those that are there; 0 is n-replicas", low=0, high=10000
    )
    n_ingresses: int = _option(1, "processes that take requests and route them", low=1, high=10000)
    routing: str = _option(
        "affinity",
        "affinity: to the replica that has had the beginning of the prompt; round-robin: in turn",
        choices=("affinity", "round-robin"),
    )
    neighbour_bytes: int = _option(
        1024,
        "how much more of a prompt a replica must have for each further request that it has in hand",
        unit="bytes",
        low=0,
        high=2**31 - 1,
    )

    def __post_init__(self) -> None:
        _check(self)
        if 0 < self.n_replicas_max < self.n_replicas:
            problem = f"n_replicas_max ({self.n_replicas_max}) is below n_replicas ({self.n_replicas})"
            raise ConfigError(problem, param="n_replicas_max")


Config = TypeVar("Config", EngineConfig, ServerConfig, ClusterConfig)
AnyConfig = type[EngineConfig] | type[ServerConfig] | type[ClusterConfig]


def options(config: AnyConfig) -> Iterator[tuple[str, Any, Option]]:
    """(name, default, declaration) of each option of a config class, in order."""
    for each in dataclasses.fields(config):
        yield each.name, each.default, each.metadata["option"]


def env_names(name: str, option: Option) -> tuple[str, ...]:
    """The environment variables of an option, the one that wins first."""
    return (ENV_PREFIX + name.upper(), option.env) if option.env else (ENV_PREFIX + name.upper(),)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, config: AnyConfig, only: Collection[str] = ()) -> None:
    """Adds a flag for each option of a config class, or for some by name. Absent flags leave no attribute."""
    for name, default, option in options(config):
        if only and name not in only:
            continue
        shown = f"{option.help} (default: {_show(default)}{' ' + option.unit if option.unit and default else ''}"
        shown += f"; environment: {', '.join(env_names(name, option))})"
        parser.add_argument(
            flag(name),
            dest=name,
            default=argparse.SUPPRESS,
            metavar="|".join(option.choices) or type(default).__name__.upper(),
            help=shown.replace("%", "%%"),
        )


def load(config: type[Config], flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """A config from parsed flags and the environment. Raises ConfigError naming the flag or variable at fault."""
    _refuse_unknown(environ)
    values: dict[str, Any] = {}
    for name, default, option in options(config):
        source, given = _given(name, option, flags, environ)
        if source:
            value = _parse(source, given, default)
            is_name = isinstance(value, str) and not option.is_path
            values[name] = system_name(value) if is_name else value
    return config(**values)


def _given(name: str, option: Option, flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, Any]:
    """The flag or variable that counts, and its value; ("", None) if there is none."""
    if name in flags:
        return flag(name), flags[name]
    for variable in env_names(name, option):
        text = environ.get(variable, "")
        if text:
            is_list = option.env_is_list and variable == option.env
            return variable, _first_of_list(variable, text) if is_list else text
    return "", None


def detach_paths(config: EngineConfig) -> tuple[EngineConfig, dict[str, bytes]]:
    """The config without its paths, and those by option as bytes: a path that is not UTF-8 cannot be sent as text."""
    values = {name: getattr(config, name) for name, _, option in options(type(config)) if option.is_path}
    without: dict[str, Any] = dict.fromkeys(values, "")
    return dataclasses.replace(config, **without), {name: os.fsencode(path) for name, path in values.items() if path}


def attach_paths(config: EngineConfig, paths: Mapping[str, bytes]) -> EngineConfig:
    """Reverses detach_paths(), possibly in a process of another locale."""
    decoded: dict[str, Any] = {name: os.fsdecode(path) for name, path in paths.items()}
    return dataclasses.replace(config, **decoded)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = set(_OTHER_ENV)
    configs: tuple[AnyConfig, ...] = (EngineConfig, ServerConfig, ClusterConfig)
    for config in configs:
        for name, _, option in options(config):
            known.update(env_names(name, option))
    for variable in sorted(environ):
        if variable.startswith(ENV_PREFIX) and variable not in known:
            raise ConfigError(f"unknown option {variable} in the environment", param=variable)


def _first_of_list(variable: str, text: str) -> str:
    """OpenMP's lists have a number for each level of nesting, of which we have one."""
    numbers = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers) or ("0" in numbers and len(numbers) > 1):
        problem = f"{variable} must be a whole number, or a list of such with commas between, got {text!r}"
        raise ConfigError(problem, param=variable)
    return numbers[0]


def _parse(source: str, text: Any, default: Any) -> Any:
    """`text` as a value of default's type. `source` (a flag or variable) is for the message."""
    if isinstance(default, bool):
        word = str(text).lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise ConfigError(f"{source} must be on or off, got {text!r}", param=source)
    try:
        return type(default)(text)
    except ValueError:
        kind = {"int": "a whole number", "float": "a number"}.get(type(default).__name__, "text")
        raise ConfigError(f"{source} must be {kind}, got {text!r}", param=source) from None


def _check(config: EngineConfig | ServerConfig | ClusterConfig) -> None:
    for name, default, option in options(type(config)):
        value = getattr(config, name)
        numeric = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not type(default) and not numeric:
            raise ConfigError(f"{name} must be {type(default).__name__}, got {value!r}", param=name)
        if option.is_path and not _can_be_path(value):
            raise ConfigError(f"{name} is no path that this system can have: {value!r}", param=name)
        if option.choices and value not in option.choices:
            raise ConfigError(f"{name} must be one of {', '.join(option.choices)}, got {value!r}", param=name)
        # Written so that NaN fails.
        if option.low is not None and option.high is not None and not option.low <= value <= option.high:
            raise ConfigError(f"{name} must be between {option.low:g} and {option.high:g}, got {value!r}", param=name)


def _can_be_path(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def document() -> str:
    """docs/CONFIGURATION.md: all options in tables."""
    parts = [_INTRODUCTION]
    titled: tuple[tuple[AnyConfig, str], ...] = (
        (EngineConfig, "Engine"),
        (ServerConfig, "Service"),
        (ClusterConfig, "Cluster"),
    )
    for config, title in titled:
        parts.append(f"\n## {title}\n\n{(config.__doc__ or '').splitlines()[0]}\n")
        parts.append("| flag | environment | default | values | meaning |\n|---|---|---|---|---|")
        for name, default, option in options(config):
            variables = ", ".join(f"`{variable}`" for variable in env_names(name, option))
            cells = (
                f"`{flag(name)}`",
                variables,
                _show(default),
                _values(default, option),
                option.help.replace("|", "\\|"),
            )
            parts.append("| " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


_INTRODUCTION = """\
# Configuration

Written by `python -m llmcore.config` from the declarations in `llmcore/config.py`; a test compares.

A flag wins over the environment, that over the default. Library users pass the engine's options as keyword arguments of
`LLM(...)`, with underscores. An unknown flag, an unknown `LLMCORE_*` variable and a value out of range are errors that name
it; an empty variable counts as absent. Paths may have any bytes; every other value is text, in which U+FFFD stands for bytes that
are not UTF-8. `llmcore pull` and the default model look into `MODEL_DIR` (by default a folder in the
user's cache); `LLMCORE_MODEL_CONFIG` names a file of models that extends the known ones (docs/DEPLOYMENT.md).
"""


def _values(default: Any, option: Option) -> str:
    if isinstance(default, bool):
        return "on, off"
    if option.choices:
        return ", ".join(option.choices)
    if option.low is not None and option.high is not None:
        return f"{option.low:.10g} to {option.high:.10g}" + (f" {option.unit}" if option.unit else "")
    return "path" if option.is_path else "text"


def _show(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default) if default != "" else "none"


if __name__ == "__main__":
    print(document(), end="")
