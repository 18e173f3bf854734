"""The Starlette application, as data: routes, handlers of exceptions, layers of middleware."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from llmcore import __version__
from llmcore.config import ServerConfig
from llmcore.errors import printable
from llmcore.machine.os_text import system_name

from .auth.keys import Keys
from .auth.middleware import AuthMiddleware
from .http.cors import BoundedCORSMiddleware
from .http.errors import HANDLERS
from .http.origin import Hosts, Origins, PagesGuard
from .metrics.service import Metrics
from .routes.chat import ChatEndpoint
from .routes.completions import CompletionsEndpoint
from .routes.documentation import Documentation
from .routes.embeddings import EmbeddingsEndpoint
from .routes.models import ModelsEndpoint
from .routes.monitoring import Monitoring
from .routes.openapi import openapi_document
from .routes.prefixes import PrefixesEndpoint
from .routes.requests import RequestsEndpoint
from .routes.rerank import RerankEndpoint
from .routes.responses import ResponsesEndpoint
from .routes.text import TextEndpoints
from .service.engine import EngineLike
from .service.service import Service
from .service.telemetry import Telemetry

# What pages may read of an answer's head.
_LIMITS = ("limit", "remaining", "reset")
_RATES = tuple(f"x-ratelimit-{what}-{unit}" for what in _LIMITS for unit in ("requests", "tokens"))
_EXPOSED = ("x-request-id", "retry-after", *_RATES)


def model_id(config: ServerConfig, model_path: str) -> str:
    """The id under which a model is served: the configured name, or its file's."""
    return printable(config.model_name) or system_name(Path(model_path).name).removesuffix(".gguf")


def create_service(engine: EngineLike, config: ServerConfig, model: str, keys: Keys | None = None) -> Service:
    metrics = Metrics(CollectorRegistry(), model, __version__)
    if keys is not None:
        metrics.name_keys(keys.names)
    engine.on_cancelled = metrics.cancelled
    return Service(engine, config, model, metrics, keys)


def create_app(service: Service, *, is_local: bool = False) -> Starlette:
    """The application; its lifespan starts and stops the engine. `is_local`: it listens on loopback."""
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
    # A path with a slash too many is unknown like others: a redirect would lose the body of a POST in many clients.
    app.router.redirect_slashes = False
    return app


def create_admin_app(service: Service, *, is_local: bool = False) -> Starlette:
    """What the admin listener serves. It asks for no key, unless the option keys_everywhere is on."""
    routes = [*_health(service), *_monitoring(service)]
    asks_for_keys = service.config.keys_everywhere
    host = service.config.admin_host
    guard = _guard(service, host, is_local=is_local, asks_for_keys=asks_for_keys)
    middleware = [Middleware(Telemetry, service=service, routes=routes), *guard]
    if asks_for_keys:
        middleware += _doors(service)
    return Starlette(routes=routes, middleware=middleware, exception_handlers=HANDLERS)


def _middleware(service: Service, routes: list[Route], *, is_local: bool) -> list[Middleware]:
    """The outermost first. A browser's question about CORS brings no key along, and a refusal must be readable for it."""
    cors = Middleware(
        BoundedCORSMiddleware,
        allow_origins=service.config.origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("*",),
        expose_headers=_EXPOSED,
    )
    telemetry = Middleware(Telemetry, service=service, routes=routes)
    guard = _guard(service, service.config.host, is_local=is_local, asks_for_keys=service.keys is not None)
    return [*([cors] if service.config.origins else []), telemetry, *guard, *_doors(service)]


def _guard(service: Service, host: str, *, is_local: bool, asks_for_keys: bool) -> list[Middleware]:
    """Where keys are asked for, a page needs one like others; names are held to those that are configured all the same."""
    allowed = service.config.hosts
    hosts = Hosts([*allowed, host], is_local=is_local) if allowed or (is_local and not asks_for_keys) else None
    origins = None if asks_for_keys else Origins(service.config.origins)
    return [Middleware(PagesGuard, hosts=hosts, origins=origins)] if hosts or origins else []


def _doors(service: Service) -> list[Middleware]:
    if service.keys is None:
        return []
    return [Middleware(AuthMiddleware, keys=service.keys, everywhere=service.config.keys_everywhere)]


def _health(service: Service) -> list[Route]:
    monitoring = Monitoring(service)
    return [
        Route("/livez", monitoring.livez),
        Route("/readyz", monitoring.readyz),
        Route("/healthz", monitoring.healthz),
    ]


def _monitoring(service: Service) -> list[Route]:
    monitoring = Monitoring(service)
    debug = [Route("/debug/engine", monitoring.engine)] if service.config.debug else []
    return [Route("/metrics", monitoring.metrics), *debug]


def _document(service: Service, *, with_debug: bool) -> dict[str, Any]:
    return openapi_document(__version__, with_debug=with_debug, with_keys=service.keys is not None)


def _routes(service: Service) -> list[Route]:
    models = ModelsEndpoint(service)
    prefixes = PrefixesEndpoint(service)
    text = TextEndpoints(service)
    is_admin_apart = service.config.admin_port >= 0
    with_debug = service.config.debug and not is_admin_apart
    documentation = Documentation(_document(service, with_debug=with_debug))
    return [
        Route("/v1/chat/completions", ChatEndpoint(service).post, methods=["POST"]),
        Route("/v1/completions", CompletionsEndpoint(service).post, methods=["POST"]),
        Route("/v1/responses", ResponsesEndpoint(service).post, methods=["POST"]),
        Route("/v1/requests/{id}", RequestsEndpoint(service).delete, methods=["DELETE"]),
        Route("/v1/prefixes", prefixes.list),
        Route("/v1/prefixes/{name}", prefixes.put_or_delete, methods=["PUT", "DELETE"]),
        Route("/v1/embeddings", EmbeddingsEndpoint(service).post, methods=["POST"]),
        Route("/v1/rerank", RerankEndpoint(service).post, methods=["POST"]),
        Route("/tokenize", text.tokenize, methods=["POST"]),
        Route("/detokenize", text.detokenize, methods=["POST"]),
        Route("/apply-template", text.apply_template, methods=["POST"]),
        Route("/v1/models", models.list),
        Route("/v1/models/{model:path}", models.get),
        *_health(service),
        *([] if is_admin_apart else _monitoring(service)),
        Route("/openapi.json", documentation.openapi),
        Route("/docs", documentation.docs),
        Route("/", documentation.root),
    ]
