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

import llmcore
from llmcore.config import ServerConfig
from llmcore.machine.os_text import printable, system_name

from .chat import ChatCompletions
from .completions import Completions
from .documentation import Documentation
from .doors import Doors
from .embeddings import Embeddings
from .engine import EngineLike
from .errors import HANDLERS
from .http.cors import BoundedCORSMiddleware
from .keys import Keys
from .metrics import Metrics
from .models import Models
from .monitoring import Monitoring
from .openapi import openapi_document
from .prefixes import Prefixes
from .requests import Requests
from .rerank import Rerank
from .responses import Responses
from .service import Service
from .telemetry import Telemetry
from .text import TextEndpoints

# What pages may read of an answer's head.
_LIMITS = ("limit", "remaining", "reset")
_RATES = tuple(f"x-ratelimit-{what}-{unit}" for what in _LIMITS for unit in ("requests", "tokens"))
_EXPOSED = ("x-request-id", "retry-after", *_RATES)


def model_id(config: ServerConfig, model_path: str) -> str:
    """The id under which a model is served: the configured name, or its file's."""
    return printable(config.model_name) or system_name(Path(model_path).name).removesuffix(".gguf")


def create_service(engine: EngineLike, config: ServerConfig, model: str, keys: Keys | None = None) -> Service:
    metrics = Metrics(CollectorRegistry(), model, llmcore.__version__)
    if keys is not None:
        metrics.name_keys(keys.names)
    engine.on_cancelled = metrics.cancelled
    return Service(engine, config, model, metrics, keys)


def create_app(service: Service) -> Starlette:
    """The application; its lifespan starts and stops the engine."""
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
        middleware=_middleware(service, routes),
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # A path with a slash too many is unknown like others: a redirect would lose the body of a POST in many clients.
    app.router.redirect_slashes = False
    return app


def create_admin_app(service: Service) -> Starlette:
    """What the admin listener serves. It asks for no key, unless the option keys_everywhere is on."""
    routes = [*_health(service), *_monitoring(service)]
    middleware = [Middleware(Telemetry, service=service, routes=routes)]
    if service.config.keys_everywhere:
        middleware += _doors(service)
    return Starlette(routes=routes, middleware=middleware, exception_handlers=HANDLERS)


def _middleware(service: Service, routes: list[Route]) -> list[Middleware]:
    """The outermost first. A browser's question about CORS brings no key along, and a refusal must be readable for it."""
    cors = Middleware(
        BoundedCORSMiddleware,
        allow_origins=service.config.origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("*",),
        expose_headers=_EXPOSED,
    )
    telemetry = Middleware(Telemetry, service=service, routes=routes)
    return [*([cors] if service.config.origins else []), telemetry, *_doors(service)]


def _doors(service: Service) -> list[Middleware]:
    if service.keys is None:
        return []
    return [Middleware(Doors, keys=service.keys, everywhere=service.config.keys_everywhere)]


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
    return openapi_document(llmcore.__version__, with_debug=with_debug, with_keys=service.keys is not None)


def _routes(service: Service) -> list[Route]:
    models = Models(service)
    prefixes = Prefixes(service)
    text = TextEndpoints(service)
    is_admin_apart = service.config.admin_port >= 0
    with_debug = service.config.debug and not is_admin_apart
    documentation = Documentation(_document(service, with_debug=with_debug))
    return [
        Route("/v1/chat/completions", ChatCompletions(service).post, methods=["POST"]),
        Route("/v1/completions", Completions(service).post, methods=["POST"]),
        Route("/v1/responses", Responses(service).post, methods=["POST"]),
        Route("/v1/requests/{id}", Requests(service).delete, methods=["DELETE"]),
        Route("/v1/prefixes", prefixes.list),
        Route("/v1/prefixes/{name}", prefixes.one, methods=["PUT", "DELETE"]),
        Route("/v1/embeddings", Embeddings(service).post, methods=["POST"]),
        Route("/v1/rerank", Rerank(service).post, methods=["POST"]),
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
