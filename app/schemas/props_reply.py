"""Replies of /props, in llama-server's shape without texts of the model."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmcore.sampling import SamplingParams

# Parameters whose value for "none" llama-server's clients expect to be absent, or that have no default.
_WITHOUT_DEFAULT = ("logit_bias", "seed", "dry_sequence_breakers")


def _default_params() -> dict[str, Any]:
    params: dict[str, Any] = msgspec.to_builtins(SamplingParams())
    return {name: value for name, value in params.items() if name not in _WITHOUT_DEFAULT}


class DefaultSettings(msgspec.Struct):
    n_ctx: Annotated[int, Meta(description="cells of the context, which all slots share")]
    params: Annotated[dict[str, Any], Meta(description="sampling parameters of a request that sets none")] = (
        msgspec.field(default_factory=_default_params)
    )


class Modalities(msgspec.Struct):
    vision: bool = False
    video: bool = False
    audio: bool = False


class PropsReply(msgspec.Struct):
    default_generation_settings: DefaultSettings
    total_slots: int
    model_alias: Annotated[str, Meta(description="the id in /v1/models")]
    model_ftype: str
    model_path: str
    build_info: str
    modalities: Modalities = msgspec.field(default_factory=Modalities)
    endpoint_slots: bool = True
    endpoint_props: bool = False
    endpoint_metrics: bool = True
    is_sleeping: bool = False
