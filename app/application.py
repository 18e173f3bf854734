"""The Starlette applications of both listeners: routes, exception handlers, middleware."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from llmcore import __version__
from llmcore.errors import printable
from llmcore.machine.os_text import system_name

from .auth.keys import Keys
from .auth.middleware import AuthMiddleware
from .config import ServerConfig
from .http import ignored_fields
from .http.cors import BoundedCORSMiddleware
from .http.error_response import HANDLERS
from .http.origin import Hosts, Origins, PagesGuard
from .http.paths import PathsMiddleware
from .metrics.service import Metrics
from .routes.anthropic import AnthropicEndpoints
from .routes.chat import ChatEndpoint
from .routes.completions import CompletionsEndpoint
from .routes.debugging import Debugging
from .routes.documentation import Documentation
from .routes.embeddings import EmbeddingsEndpoint
from .routes.models import ModelsEndpoint
from .routes.monitoring import Monitoring
from .routes.ollama import OllamaEndpoints
from .routes.ollama_embed import OllamaEmbedEndpoints
from .routes.ollama_models import OllamaModelsEndpoints
from .routes.openapi import openapi_document
from .routes.prefixes import PrefixesEndpoint
from .routes.requests import RequestsEndpoint
from .routes.rerank import RerankEndpoint
from .routes.responses import ResponsesEndpoint
from .routes.score import ScoreEndpoint
from .routes.text import TextEndpoints
from .service.engine import EngineLike
from .service.service import Service
from .service.telemetry import TelemetryMiddleware

# Response headers that browsers let pages of other origins read.
_RATE_LIMIT_HEADERS = tuple(
    f"x-ratelimit-{value}-{unit}" for value in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
)
_EXPOSED_HEADERS = ("x-request-id", "request-id", "retry-after", ignored_fields.HEADER, *_RATE_LIMIT_HEADERS)


def model_id(config: ServerConfig, model_path: str) -> str:
    """Returns the id of the served model: the configured name, or else the file's name without .gguf."""
    return printable(config.model_name) or system_name(Path(model_path).name).removesuffix(".gguf")


def create_service(engine: EngineLike, config: ServerConfig, model: str, keys: Keys | None = None) -> Service:
    """Returns a service with its metrics in a registry of their own. `model` is the served id."""
    metrics = Metrics(CollectorRegistry(), model, __version__)
    if keys is not None:
        metrics.add_keys(keys.names)
    engine.on_cancelled = metrics.observe_cancel
    return Service(engine, config, model, metrics, keys)


def create_app(service: Service, *, is_local: bool = False) -> Starlette:
    """Returns the application of the main listener. Its lifespan starts and stops the engine. `is_local` is true on loopback."""
    routes = _routes(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.engine.start()
        try:
            yield
        finally:
            await service.engine.stop()

    app = Starlette(
        routes=routes,
        middleware=_middleware(service, routes, is_local=is_local),
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # paths.py removes extra slashes, and nothing is redirected.
    app.router.redirect_slashes = False
    return app


def create_admin_app(service: Service, *, is_local: bool = False) -> Starlette:
    """Returns the application of the admin listener. It requires API keys only with the option keys_everywhere."""
    routes = [*_health_routes(service), *_monitoring_routes(service)]
    requires_keys = service.config.keys_everywhere
    host = service.config.admin_host
    guard = _browser_guard(service, host, is_local=is_local, requires_keys=requires_keys)
    middleware = [Middleware(PathsMiddleware), Middleware(TelemetryMiddleware, service=service, routes=routes), *guard]
    if requires_keys:
        middleware += _auth_middleware(service)
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return app


def _middleware(service: Service, routes: list[Route], *, is_local: bool) -> list[Middleware]:
    """Returns the middleware of the main listener, outermost first. CORS is outside of authentication, because a browser's
    preflight request has no API key, and because pages may read a refusal only if it has CORS headers."""
    cors = Middleware(
        BoundedCORSMiddleware,
        allow_origins=service.config.origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("*",),
        expose_headers=_EXPOSED_HEADERS,
    )
    telemetry = Middleware(TelemetryMiddleware, service=service, routes=routes)
    guard = _browser_guard(service, service.config.host, is_local=is_local, requires_keys=service.keys is not None)
    outer = [Middleware(PathsMiddleware), *([cors] if service.config.origins else [])]
    return [*outer, telemetry, *guard, *_auth_middleware(service)]


def _browser_guard(service: Service, host: str, *, is_local: bool, requires_keys: bool) -> list[Middleware]:
    """Returns the check of Host and Origin headers against browser attacks. With API keys, origins are not checked, because a
    page needs a key too; hosts are checked against the option allowed_hosts in any case."""
    allowed = service.config.hosts
    hosts = Hosts([*allowed, host], is_local=is_local) if allowed or (is_local and not requires_keys) else None
    origins = None if requires_keys else Origins(service.config.origins)
    return [Middleware(PagesGuard, hosts=hosts, origins=origins)] if hosts or origins else []


def _auth_middleware(service: Service) -> list[Middleware]:
    if service.keys is None:
        return []
    return [Middleware(AuthMiddleware, keys=service.keys, keys_everywhere=service.config.keys_everywhere)]


def _health_routes(service: Service) -> list[Route]:
    monitoring = Monitoring(service)
    return [
        Route("/livez", monitoring.livez),
        Route("/readyz", monitoring.readyz),
        Route("/healthz", monitoring.healthz),
        Route("/health", monitoring.health),
    ]


def _monitoring_routes(service: Service) -> list[Route]:
    return [Route("/metrics", Monitoring(service).metrics), *(_debug_routes(service) if service.config.debug else [])]


def _debug_routes(service: Service) -> list[Route]:
    debugging = Debugging(service)
    return [
        Route("/debug/engine", debugging.engine),
        Route("/props", debugging.props),
        Route("/slots", debugging.slots),
    ]


def _ollama_routes(service: Service) -> list[Route]:
    answers, vectors, models = OllamaEndpoints(service), OllamaEmbedEndpoints(service), OllamaModelsEndpoints(service)
    return [
        Route("/api/chat", answers.chat, methods=["POST"]),
        Route("/api/generate", answers.generate, methods=["POST"]),
        Route("/api/embed", vectors.embed, methods=["POST"]),
        Route("/api/embeddings", vectors.embeddings, methods=["POST"]),
        Route("/api/tags", models.tags),
        Route("/api/ps", models.running),
        Route("/api/version", models.version),
        Route("/api/show", models.show, methods=["POST"]),
        Route("/api/pull", models.pull, methods=["POST"]),
        Route("/api/delete", models.refuse, methods=["DELETE"]),
        *(Route(f"/api/{each}", models.refuse, methods=["POST"]) for each in ("create", "copy", "push")),
    ]


def _routes(service: Service) -> list[Route]:
    anthropic = AnthropicEndpoints(service)
    models = ModelsEndpoint(service)
    prefixes = PrefixesEndpoint(service)
    text = TextEndpoints(service)
    has_admin = service.config.admin_port >= 0
    with_debug = service.config.debug and not has_admin
    documentation = Documentation(
        openapi_document(
            __version__,
            with_debug=with_debug,
            with_keys=service.keys is not None,
            refuses_unknown=service.config.unknown_fields == "refuse",
        )
    )
    return [
        Route("/v1/chat/completions", ChatEndpoint(service).post, methods=["POST"]),
        Route("/v1/completions", CompletionsEndpoint(service).post, methods=["POST"]),
        Route("/v1/responses", ResponsesEndpoint(service).post, methods=["POST"]),
        Route("/v1/messages", anthropic.messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", anthropic.count_tokens, methods=["POST"]),
        Route("/v1/requests/{id}", RequestsEndpoint(service).delete, methods=["DELETE"]),
        Route("/v1/prefixes", prefixes.list),
        Route("/v1/prefixes/{name}", prefixes.put_or_delete, methods=["PUT", "DELETE"]),
        Route("/v1/embeddings", EmbeddingsEndpoint(service).post, methods=["POST"]),
        Route("/v1/rerank", RerankEndpoint(service).post, methods=["POST"]),
        Route("/v1/score", ScoreEndpoint(service).post, methods=["POST"]),
        Route("/tokenize", text.tokenize, methods=["POST"]),
        Route("/detokenize", text.detokenize, methods=["POST"]),
        Route("/apply-template", text.apply_template, methods=["POST"]),
        Route("/v1/models", models.list),
        Route("/v1/models/{model:path}", models.get),
        *_ollama_routes(service),
        *_health_routes(service),
        *([] if has_admin else _monitoring_routes(service)),
        Route("/version", documentation.version),
        Route("/openapi.json", documentation.openapi),
        Route("/docs", documentation.docs),
        Route("/", documentation.root),
    ]
