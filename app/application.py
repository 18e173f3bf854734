"""The Starlette application, as data: routes, handlers of exceptions, one layer of middleware."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

import llmcore
from llmcore.config import ServerConfig

from .chat import ChatCompletions
from .completions import Completions
from .documentation import Documentation
from .embeddings import Embeddings
from .engine import EngineLike
from .errors import HANDLERS
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


def model_id(config: ServerConfig, model_path: str) -> str:
    """The id under which a model is served: the configured name, or its file's."""
    return config.model_name or Path(model_path).name.removesuffix(".gguf")


def create_service(engine: EngineLike, config: ServerConfig, model: str) -> Service:
    metrics = Metrics(CollectorRegistry(), model, llmcore.__version__)
    engine.on_cancelled = metrics.cancelled
    return Service(engine, config, model, metrics)


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
        middleware=[Middleware(Telemetry, service=service, routes=routes)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # A path with a slash too many is unknown like others: a redirect would lose the body of a POST in many clients.
    app.router.redirect_slashes = False
    return app


def _routes(service: Service) -> list[Route]:
    monitoring = Monitoring(service)
    models = Models(service)
    prefixes = Prefixes(service)
    text = TextEndpoints(service)
    with_debug = service.config.debug
    documentation = Documentation(openapi_document(llmcore.__version__, with_debug=with_debug))
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
        Route("/livez", monitoring.livez),
        Route("/readyz", monitoring.readyz),
        Route("/healthz", monitoring.healthz),
        Route("/metrics", monitoring.metrics),
        *([Route("/debug/engine", monitoring.engine)] if with_debug else []),
        Route("/openapi.json", documentation.openapi),
        Route("/docs", documentation.docs),
        Route("/", documentation.root),
    ]
