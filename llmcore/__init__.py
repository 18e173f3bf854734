"""llmcore: a fast, dependable LLM service for CPUs.

    from llmcore import LLM

The names below are loaded when they are first used, so that importing a part that needs no native code (as the HTTP
service does) loads none.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmcore.batch import Batch
    from llmcore.config import EngineConfig
    from llmcore.engine.engine import Engine
    from llmcore.errors import LlmcoreError
    from llmcore.library.async_llm import AsyncLLM
    from llmcore.library.async_stream import AsyncStream
    from llmcore.library.completion import Completion
    from llmcore.library.llm import LLM
    from llmcore.library.stream import Stream
    from llmcore.llama.chat import ChatTemplate
    from llmcore.llama.context import Context
    from llmcore.llama.context_params import ContextParams
    from llmcore.llama.model import Model
    from llmcore.llama.sampler import Sampler
    from llmcore.sampling import SamplingParams
    from llmcore.worker.client import AsyncEngine

__all__ = [
    "LLM",
    "AsyncEngine",
    "AsyncLLM",
    "AsyncStream",
    "Batch",
    "ChatTemplate",
    "Completion",
    "Context",
    "ContextParams",
    "Engine",
    "EngineConfig",
    "LlmcoreError",
    "Model",
    "Sampler",
    "SamplingParams",
    "Stream",
]

_HOMES = {
    "AsyncEngine": "worker.client",
    "AsyncLLM": "library.async_llm",
    "AsyncStream": "library.async_stream",
    "Batch": "batch",
    "ChatTemplate": "llama.chat",
    "Completion": "library.completion",
    "Context": "llama.context",
    "ContextParams": "llama.context_params",
    "Engine": "engine.engine",
    "EngineConfig": "config",
    "LLM": "library.llm",
    "LlmcoreError": "errors",
    "Model": "llama.model",
    "Sampler": "llama.sampler",
    "SamplingParams": "sampling",
    "Stream": "library.stream",
}

try:
    __version__ = version("llmcore")
except PackageNotFoundError:  # the source tree without an installation
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmcore' has no attribute {name!r}")
    return getattr(importlib.import_module(f"llmcore.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
