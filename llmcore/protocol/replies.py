"""Messages from the worker to the client. All are msgspec structs; the reply to a call carries the id of the call."""

from __future__ import annotations

import msgspec

from llmcore.messages import AdmissionRefusal, EngineStats, ModelInfo, Output, PrefixInfo


class LoadingReply(msgspec.Struct, frozen=True, tag="loading"):
    progress: float  # 0..1


class ReadyReply(msgspec.Struct, frozen=True, tag="ready"):
    """A model is loaded and a warm-up token was decoded."""

    model: ModelInfo


class LoadFailedReply(msgspec.Struct, frozen=True, tag="load_failed"):
    """Loading failed and would fail again with the same configuration. The worker exits after this."""

    code: str
    message: str
    param: str | None = None


class StepReply(msgspec.Struct, frozen=True, tag="step"):
    """All outputs of one engine step, or of commands between two steps: one message and one wake-up instead of one a token.

    `refusals`, by priority (high, normal, low), are the refusals that even the cheapest request would get now: the client
    sends no such request until the next StepReply. Empty if none would be refused.
    """

    outputs: tuple[Output, ...]
    refusals: tuple[AdmissionRefusal | None, ...] = ()


class TokensReply(msgspec.Struct, frozen=True, tag="tokens_reply"):
    call_id: int
    tokens: tuple[int, ...]


class TextReply(msgspec.Struct, frozen=True, tag="text_reply"):
    call_id: int
    text: str


class StatsReply(msgspec.Struct, frozen=True, tag="stats_reply"):
    call_id: int
    stats: EngineStats


class PrefixesReply(msgspec.Struct, frozen=True, tag="prefixes_reply"):
    call_id: int
    prefixes: tuple[PrefixInfo, ...]


class InspectionReply(msgspec.Struct, frozen=True, tag="inspection"):
    """`engine` is the engine's state as JSON: slots, radix tree, queue, host cache and cost model, without text or tokens."""

    call_id: int
    engine: bytes


class VectorsReply(msgspec.Struct, frozen=True, tag="vectors"):
    """`data` is float32[n_texts, width], little-endian, in the order of the texts. `n_tokens` is the total of all texts."""

    call_id: int
    data: bytes
    width: int
    n_tokens: int


class CallFailedReply(msgspec.Struct, frozen=True, tag="call_failed"):
    call_id: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None  # with "overloaded": wait before sending it again


CallReply = TokensReply | TextReply | StatsReply | PrefixesReply | InspectionReply | VectorsReply | CallFailedReply
Reply = LoadingReply | ReadyReply | LoadFailedReply | StepReply | CallReply
