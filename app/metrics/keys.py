"""Prometheus metrics per API key. Only configured names become label values, so unknown keys cannot add series."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

from ..http.request_log import RequestLog


class KeyMetrics:
    """Requests, tokens and refusals per API key. `names` are the configured keys."""

    def __init__(self, registry: CollectorRegistry, names: Sequence[str], model: str) -> None:
        self._model = model
        self._requests = Counter(
            "llm_service_key_requests", "HTTP requests by API key", ["key", "status", "model"], registry=registry
        )
        self._tokens = Counter(
            "llm_service_key_tokens", "tokens of an API key's requests", ["key", "kind", "model"], registry=registry
        )
        self._refused = Counter(
            "llm_service_key_refused",
            "requests refused by a limit of their API key",
            ["key", "limit", "model"],
            registry=registry,
        )
        for name in names:  # exist from the start, so that a rate is 0 instead of absent
            for kind in ("prompt", "cached", "generated", "text"):
                self._tokens.labels(name, kind, model)
            for limit in ("requests", "tokens", "concurrent"):
                self._refused.labels(name, limit, model)

    def observe_request(self, request_log: RequestLog) -> None:
        """Counts a request that has ended. It must have a key."""
        self._requests.labels(request_log.key, str(request_log.status), self._model).inc()
        self._tokens.labels(request_log.key, "prompt", self._model).inc(request_log.n_prompt)
        self._tokens.labels(request_log.key, "cached", self._model).inc(request_log.n_cached)
        self._tokens.labels(request_log.key, "generated", self._model).inc(request_log.n_generated)
        self._tokens.labels(request_log.key, "text", self._model).inc(request_log.n_text)
        if request_log.limit:
            self._refused.labels(request_log.key, request_log.limit, self._model).inc()
