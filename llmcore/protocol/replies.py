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
    """The worker ends after this: starting it again with the same configuration would fail again."""

    code: str
    message: str
    param: str | None = None


class StepReply(msgspec.Struct, frozen=True, tag="step"):
    """All outputs of one engine step (or of commands between two): one message and one wake-up, not one a token.

    `refusals`, by priority (high, normal, low): what even the cheapest request would be told now, so that none needs to be
    sent until the next StepReply. Empty where nobody is refused.
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
    """`engine` is JSON: slots, tree, queue, host tier and cost model, without any text or token."""

    call_id: int
    engine: bytes


class VectorsReply(msgspec.Struct, frozen=True, tag="vectors"):
    """`data` is float32[n_texts, width] in the order of the texts, little-endian; these had `n_tokens` together."""

    call_id: int
    data: bytes
    width: int
    n_tokens: int


class CallFailedReply(msgspec.Struct, frozen=True, tag="call_failed"):
    call_id: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None  # with "overloaded": when the same call may be admitted


CallReply = TokensReply | TextReply | StatsReply | PrefixesReply | InspectionReply | VectorsReply | CallFailedReply
Reply = LoadingReply | ReadyReply | LoadFailedReply | StepReply | CallReply
