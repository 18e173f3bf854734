"""Options of the service and of its cluster. Each is declared once (llmcore/machine/options.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmcore.errors import ConfigError
from llmcore.machine.options import check_options, option_field

# What browsers send: never a path, nor a slash at the end.
_ORIGIN = re.compile(r"https?://[^/\s,*]+")
# A name or an address without a port.
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]?")


@dataclass(frozen=True)
class ServerConfig:
    """The HTTP service around the engine."""

    host: str = option_field("127.0.0.1", "address to listen on", env="HOST")
    port: int = option_field(8001, "port to listen on; 0 takes a free one", env="PORT", low=0, high=65535)
    model_name: str = option_field(
        "", "the model's id in /v1/models; by default the file's name without .gguf", env="MODEL_NAME"
    )
    max_tokens_default: int = option_field(
        0,
        "answer length where a request names none; 0 is up to the end of the context",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_body_bytes: int = option_field(4 * 2**20, "largest request body", unit="bytes", low=1024, high=2**31 - 1)
    n_connections_max: int = option_field(
        2048,
        "connections at the same time, from accept to close; on further ones all but probes is a 503. No more than the limit of "
        "open files allows",
        low=1,
        high=1_000_000,
    )
    head_timeout_s: float = option_field(
        10.0,
        "time for the head of a request to come, and before that for a TLS handshake",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    body_timeout_s: float = option_field(
        30.0, "time for the body of a request to come", unit="seconds", low=0.1, high=3600
    )
    send_timeout_s: float = option_field(
        30.0,
        "time in which a client must read on; after it the connection is cut and its request cancelled",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    drain_s: float = option_field(
        25.0, "after SIGTERM, time for running answers to finish", unit="seconds", low=0, high=3600
    )
    sse_keep_alive_s: float = option_field(
        10.0, "silence of a stream after which a comment keeps it alive; 0: never", unit="seconds", low=0, high=3600
    )
    debug: bool = option_field(False, "serve GET /debug/engine: slots, cache and queue, without any text")
    api_keys_file: str = option_field(
        "",
        "file of API keys, a line for each as `llmcore key NAME` prints it; where there are keys, requests need one",
        is_path=True,
    )
    api_keys: str = option_field("", "API keys as NAME:SHA256, separated by commas; those of the file are added")
    keys_everywhere: bool = option_field(
        False, "where there are keys, ask for one at /metrics, /docs and /openapi.json too; health routes stay open"
    )
    key_requests_per_minute: int = option_field(
        0, "requests of each API key, unless its line says otherwise; 0 is no limit", low=0, high=2**31 - 1
    )
    key_tokens_per_minute: int = option_field(
        0, "tokens of each API key, prompts and answers; 0 is no limit", unit="tokens", low=0, high=2**31 - 1
    )
    key_concurrent: int = option_field(
        0, "requests of each API key that may be under way at once; 0 is no limit", low=0, high=100000
    )
    prefix_isolation: str = option_field(
        "off",
        "key: requests of different API keys share no cached prefix but pinned ones, so that nobody can tell by the time of "
        "an answer what another key has asked",
        choices=("off", "key"),
    )
    cors_origins: str = option_field(
        "",
        "origins whose pages may call from a browser, as https://a.example,https://b.example; * is all of them. Without API keys, "
        "requests of other pages are refused",
    )
    allowed_hosts: str = option_field(
        "",
        "names by which the service may be reached besides loopback ones and addresses, as llm.example,*.internal; * is all of "
        "them. By default any, but loopback ones only where it listens on loopback without API keys: a proxy on the same machine "
        "passes on another",
    )
    tls_cert: str = option_field("", "PEM file of the certificate (and its chain): serve HTTPS", is_path=True)
    tls_key: str = option_field(
        "", "PEM file of its private key, not encrypted; by default in the certificate's file", is_path=True
    )
    admin_port: int = option_field(
        -1,
        "port of a second listener, which alone has /metrics and /debug then; 0 takes a free one, -1 is none",
        low=-1,
        high=65535,
    )
    admin_host: str = option_field("127.0.0.1", "address of that listener")
    max_messages: int = option_field(
        2048, "messages of a chat request, or items of a response's input; 0 is no limit", low=0, high=2**31 - 1
    )
    max_prompt_chars: int = option_field(
        0,
        "characters of a prompt: of its text, or of messages and tools as JSON; 0: as many as the context can hold",
        low=0,
        high=2**31 - 1,
    )
    max_answer_tokens: int = option_field(
        0,
        "longest answer that a request may ask for, and gets where it names none; 0 is no limit",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_request_s: float = option_field(
        0.0,
        "longest timeout that a request may ask for, and gets where it names none; 0 is no limit",
        unit="seconds",
        low=0,
        high=86400,
    )
    log_level: str = option_field(
        "info", "least severe log line to print", choices=("debug", "info", "warning", "error")
    )

    def __post_init__(self) -> None:
        check_options(self)
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

    n_replicas: int = option_field(2, "replicas that are always there", low=1, high=10000)
    n_replicas_max: int = option_field(
        0, "replicas at most, while requests wait in those that are there; 0 is n-replicas", low=0, high=10000
    )
    n_ingresses: int = option_field(1, "processes that take requests and route them", low=1, high=10000)
    routing: str = option_field(
        "affinity",
        "affinity: to the replica that has had the beginning of the prompt; round-robin: in turn",
        choices=("affinity", "round-robin"),
    )
    neighbour_bytes: int = option_field(
        1024,
        "how much more of a prompt a replica must have for each further request that it has in hand",
        unit="bytes",
        low=0,
        high=2**31 - 1,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if 0 < self.n_replicas_max < self.n_replicas:
            problem = f"n_replicas_max ({self.n_replicas_max}) is below n_replicas ({self.n_replicas})"
            raise ConfigError(problem, param="n_replicas_max")
