"""Options of the service and of its cluster. Flag, environment variable and help of each derive from its declaration here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmcore.errors import ConfigError
from llmcore.machine.options import check_options, option_field

# An origin as browsers send it: without a path or a slash at the end.
_ORIGIN = re.compile(r"https?://[^/\s,*]+")
# A host name or address without a port.
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]?")


@dataclass(frozen=True)
class ServerConfig:
    """Options of the HTTP service. Raises ConfigError for a value that is out of range or contradicts another one."""

    host: str = option_field("127.0.0.1", "address to listen on", env="HOST")
    port: int = option_field(8001, "port to listen on; 0 takes a free one", env="PORT", low=0, high=65535)
    model_name: str = option_field(
        "", "id of the model in /v1/models; by default the file's name without .gguf", env="MODEL_NAME"
    )
    model_alias: str = option_field(
        "", "further names of the model, separated by commas; requests may use them, and /v1/models lists them"
    )
    any_model: bool = option_field(
        False, "serve requests for any other model too; answers have the id of the model that is served"
    )
    unknown_fields: str = option_field(
        "ignore",
        "fields of request bodies that the service does not know. ignore: pass over them and tell them in the response header "
        "X-Llmcore-Ignored; refuse: a 400 that names the first one",
        choices=("ignore", "refuse"),
    )
    max_tokens_default: int = option_field(
        0,
        "answer length of requests without one; 0 is up to the end of the context",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_body_bytes: int = option_field(4 * 2**20, "largest request body", unit="bytes", low=1024, high=2**31 - 1)
    n_connections_max: int = option_field(
        2048,
        "concurrent connections, from accept to close; on further ones everything but probes gets a 503. The limit of open files "
        "may lower it",
        low=1,
        high=1_000_000,
    )
    head_timeout_s: float = option_field(
        10.0,
        "time to receive the head of a request, and before that for the TLS handshake",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    body_timeout_s: float = option_field(
        30.0, "time to receive the body of a request", unit="seconds", low=0.1, high=3600
    )
    send_timeout_s: float = option_field(
        30.0,
        "longest time in which a client reads nothing; then its connection is closed and its request cancelled",
        unit="seconds",
        low=0.1,
        high=3600,
    )
    drain_s: float = option_field(
        25.0, "time after SIGTERM for running requests to finish", unit="seconds", low=0, high=3600
    )
    sse_keep_alive_s: float = option_field(
        10.0,
        "time without output after which a stream sends a keep-alive comment; 0: never",
        unit="seconds",
        low=0,
        high=3600,
    )
    debug: bool = option_field(False, "serve GET /debug/engine: slots, cache and queue, without text")
    api_keys_file: str = option_field(
        "",
        "file of API keys, one line per key as `llmcore key NAME` prints it; with any key configured, requests need one",
        is_path=True,
    )
    api_keys: str = option_field("", "API keys as NAME:SHA256, separated by commas; in addition to the file's")
    keys_everywhere: bool = option_field(
        False, "require an API key for /metrics, /docs and /openapi.json too; health routes never need one"
    )
    key_requests_per_minute: int = option_field(
        0, "requests per minute of each API key without a limit of its own; 0 is no limit", low=0, high=2**31 - 1
    )
    key_tokens_per_minute: int = option_field(
        0, "tokens per minute of each API key, prompts and answers; 0 is no limit", unit="tokens", low=0, high=2**31 - 1
    )
    key_concurrent: int = option_field(0, "concurrent requests of each API key; 0 is no limit", low=0, high=100000)
    prefix_isolation: str = option_field(
        "off",
        "key: requests of different API keys share no cached prefixes except pinned ones, so that response times reveal nothing "
        "about another key's requests",
        choices=("off", "key"),
    )
    cors_origins: str = option_field(
        "",
        "origins whose pages may call the service from a browser, such as https://a.example,https://b.example; * is any. Without "
        "API keys, requests from other pages are refused",
    )
    allowed_hosts: str = option_field(
        "",
        "host names that requests may use besides loopback names and addresses, such as llm.example,*.internal; * is any. By "
        "default any; but if the service listens on loopback without API keys, only loopback names, so a proxy on the same machine "
        "that forwards another name needs this option",
    )
    tls_cert: str = option_field("", "PEM file of the certificate and its chain: serve HTTPS", is_path=True)
    tls_key: str = option_field(
        "", "PEM file of the private key, unencrypted; by default the certificate's file", is_path=True
    )
    admin_port: int = option_field(
        -1,
        "port of a second listener, which then is the only one with /metrics and /debug; 0 takes a free one, -1 is none",
        low=-1,
        high=65535,
    )
    admin_host: str = option_field("127.0.0.1", "address of the admin listener")
    max_messages: int = option_field(
        2048, "most messages of a chat request, or items of a response's input; 0 is no limit", low=0, high=2**31 - 1
    )
    max_prompt_chars: int = option_field(
        0,
        "most characters of a prompt: of its text, or of messages and tools as JSON; 0: as many as fit into the context",
        low=0,
        high=2**31 - 1,
    )
    max_answer_tokens: int = option_field(
        0,
        "longest answer that a request may ask for, and the default of requests without a length; 0 is no limit",
        unit="tokens",
        low=0,
        high=2**31 - 1,
    )
    max_request_s: float = option_field(
        0.0,
        "longest timeout that a request may ask for, and the default of requests without one; 0 is no limit",
        unit="seconds",
        low=0,
        high=86400,
    )
    log_level: str = option_field("info", "lowest severity of log lines", choices=("debug", "info", "warning", "error"))

    def __post_init__(self) -> None:
        check_options(self)
        self._check_keys()
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

    def _check_keys(self) -> None:
        if self.api_keys_file or self.api_keys:
            return
        needing_keys = ("keys_everywhere", "prefix_isolation", "key_requests_per_minute", "key_tokens_per_minute")
        for name in (*needing_keys, "key_concurrent"):
            if getattr(self, name) not in (False, 0, "off"):
                raise ConfigError(f"{name} needs api_keys_file or api_keys", param=name)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Returns the names of model_alias."""
        return tuple(dict.fromkeys(each.strip() for each in self.model_alias.split(",") if each.strip()))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Returns the host names of allowed_hosts."""
        return tuple(each.strip() for each in self.allowed_hosts.split(",") if each.strip())

    @property
    def origins(self) -> tuple[str, ...]:
        """Returns the origins of cors_origins."""
        return tuple(each.strip() for each in self.cors_origins.split(",") if each.strip())


@dataclass(frozen=True)
class ClusterConfig:
    """Options of the replicas behind Ray Serve (`python -m llmcore_app.cluster`)."""

    n_replicas: int = option_field(2, "replicas that always run", low=1, high=10000)
    n_replicas_max: int = option_field(
        0, "most replicas; more are started while requests have to wait; 0 is n-replicas", low=0, high=10000
    )
    n_ingresses: int = option_field(1, "processes that receive and route requests", low=1, high=10000)
    routing: str = option_field(
        "affinity",
        "affinity: to the replica that has the longest prefix of the prompt cached; round-robin: in turn",
        choices=("affinity", "round-robin"),
    )
    neighbour_bytes: int = option_field(
        1024,
        "how much more of the prompt a replica must have cached to be chosen despite each further request in flight there",
        unit="bytes",
        low=0,
        high=2**31 - 1,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if 0 < self.n_replicas_max < self.n_replicas:
            problem = f"n_replicas_max ({self.n_replicas_max}) is below n_replicas ({self.n_replicas})"
            raise ConfigError(problem, param="n_replicas_max")
