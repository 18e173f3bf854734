"""Messages from the client to the worker. All are msgspec structs; calls have an id, which their reply carries."""

from __future__ import annotations

import msgspec

from llmcore.config import EngineConfig
from llmcore.messages import ChatPrompt, GenerateRequest, PrefixSpec


class ConfigureCommand(msgspec.Struct, frozen=True, tag="configure"):
    """The first message: what to load. `paths` are those of the config (config.detach_paths)."""

    engine: EngineConfig
    log_level: str = "info"
    paths: dict[str, bytes] = {}


class SubmitCommand(msgspec.Struct, frozen=True, tag="submit"):
    request: GenerateRequest


class CancelCommand(msgspec.Struct, frozen=True, tag="cancel"):
    request_id: str


class TokenizeCommand(msgspec.Struct, frozen=True, tag="tokenize"):
    call_id: int
    text: str
    add_special: bool
    parse_special: bool


class DetokenizeCommand(msgspec.Struct, frozen=True, tag="detokenize"):
    call_id: int
    tokens: tuple[int, ...]


class RenderCommand(msgspec.Struct, frozen=True, tag="render"):
    """What the model's chat template makes of messages. Answered by Text."""

    call_id: int
    prompt: ChatPrompt


class EmbedCommand(msgspec.Struct, frozen=True, tag="embed"):
    """Texts, or token ids as they stand. Answered by Vectors of length 1."""

    call_id: int
    texts: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None  # cut to that, None: as the model gives them


class RerankCommand(msgspec.Struct, frozen=True, tag="rerank"):
    """Answered by Vectors of width 1: the score of each document."""

    call_id: int
    query: str
    documents: tuple[str, ...]


class AbandonCommand(msgspec.Struct, frozen=True, tag="abandon"):
    """Nobody waits for the reply to an Embed or Rerank any more: what of it is not computed need not be."""

    call_id: int


class GetStatsCommand(msgspec.Struct, frozen=True, tag="stats"):
    call_id: int


class PinCommand(msgspec.Struct, frozen=True, tag="pin"):
    """Answered by Prefixes (of one) once the prefix is computed."""

    call_id: int
    prefix: PrefixSpec


class UnpinCommand(msgspec.Struct, frozen=True, tag="unpin"):
    """Answered by Prefixes (of none), or CallFailedReply with "prefix_missing"."""

    call_id: int
    name: str


class GetPrefixesCommand(msgspec.Struct, frozen=True, tag="get_prefixes"):
    call_id: int


class InspectCommand(msgspec.Struct, frozen=True, tag="inspect"):
    """Answered by Inspection."""

    call_id: int


class ShutdownCommand(msgspec.Struct, frozen=True, tag="shutdown"):
    """End now: what is running is cancelled."""


CallCommand = (
    TokenizeCommand
    | DetokenizeCommand
    | RenderCommand
    | EmbedCommand
    | RerankCommand
    | GetStatsCommand
    | PinCommand
    | UnpinCommand
    | GetPrefixesCommand
    | InspectCommand
)
Command = ConfigureCommand | SubmitCommand | CancelCommand | AbandonCommand | CallCommand | ShutdownCommand
