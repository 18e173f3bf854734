"""Requests and replies of the endpoints of Ollama's API that are about models: tags, show, ps, version, pull and the like."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Capability = Literal["completion", "tools", "embedding"]


class OllamaModelRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request about one model. `name` is the older word for `model`."""

    model: str | None = None
    name: str | None = None
    stream: Annotated[bool, Meta(description="true if absent")] | None = None
    verbose: Annotated[bool, Meta(description="accepted without effect")] | None = None
    insecure: Annotated[bool, Meta(description="accepted without effect: nothing is downloaded")] | None = None

    @property
    def asked_model(self) -> str:
        return self.model or self.name or ""


class OllamaModelDetails(msgspec.Struct):
    family: Annotated[str, Meta(description="the architecture")]
    families: list[str]
    parameter_size: Annotated[str, Meta(description="number of parameters, as 8.0B")]
    quantization_level: Annotated[str, Meta(description="as Q4_K_M")]
    parent_model: str = ""
    format: Literal["gguf"] = "gguf"


class OllamaModelCard(msgspec.Struct, kw_only=True):
    name: str
    model: str
    size: Annotated[int, Meta(description="of the tensors, in bytes")]
    digest: Annotated[str, Meta(description="of the model's name, type and size: not of the file")]
    details: OllamaModelDetails


class OllamaTag(OllamaModelCard, kw_only=True):
    modified_at: datetime
    capabilities: list[Capability]


class OllamaTags(msgspec.Struct):
    models: list[OllamaTag]


class OllamaRunningModel(OllamaModelCard, kw_only=True):
    expires_at: Annotated[datetime, Meta(description="far away: the model stays loaded")]
    context_length: int
    size_vram: int = 0


class OllamaRunningModels(msgspec.Struct):
    models: list[OllamaRunningModel]


class OllamaShowReply(msgspec.Struct, kw_only=True):
    details: OllamaModelDetails
    model_info: dict[str, Any]
    capabilities: list[Capability]
    modified_at: datetime
    modelfile: str = ""
    parameters: str = ""
    template: str = ""
    license: str = ""


class OllamaVersionReply(msgspec.Struct):
    version: Annotated[str, Meta(description="the version of Ollama whose API this is")]
    llmcore: Annotated[str, Meta(description="the version of this service")]


class OllamaStatus(msgspec.Struct):
    status: Literal["success"] = "success"
