"""Messages from the client to the worker. All are msgspec structs; calls have an id, which their reply carries."""

from __future__ import annotations

import msgspec

from llmcore.config import EngineConfig
from llmcore.messages import ChatPrompt, GenerateRequest, PrefixSpec


class ConfigureCommand(msgspec.Struct, frozen=True, tag="configure"):
    """The first command: the engine to load. `paths` are the paths of the config (config.detach_paths)."""

    engine: EngineConfig
    log_level: str | None = None  # lines that the worker writes to standard error; None: none
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
    """Renders messages by the model's chat template. The reply is a TextReply."""

    call_id: int
    prompt: ChatPrompt


class TokenizeChatCommand(msgspec.Struct, frozen=True, tag="tokenize_chat"):
    """Renders messages and tokenizes them, as the prompt of a request. The reply is a TokensReply."""

    call_id: int
    prompt: ChatPrompt


class EmbedCommand(msgspec.Struct, frozen=True, tag="embed"):
    """Computes embeddings of texts, or of token ids. The reply is a VectorsReply of unit vectors."""

    call_id: int
    texts: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None  # vectors are cut to this length; None: not cut


class RerankCommand(msgspec.Struct, frozen=True, tag="rerank"):
    """Scores documents. The reply is a VectorsReply of width 1, one score for each document."""

    call_id: int
    query: str
    documents: tuple[str, ...]


class AbandonCommand(msgspec.Struct, frozen=True, tag="abandon"):
    """Ends an EmbedCommand or RerankCommand whose caller has left: what is not computed yet is dropped."""

    call_id: int


class GetStatsCommand(msgspec.Struct, frozen=True, tag="stats"):
    call_id: int


class PinCommand(msgspec.Struct, frozen=True, tag="pin"):
    """Pins a prefix. The reply is a PrefixesReply with this one, once it is computed."""

    call_id: int
    prefix: PrefixSpec


class UnpinCommand(msgspec.Struct, frozen=True, tag="unpin"):
    """Unpins a prefix. The reply is an empty PrefixesReply, or a CallFailedReply with "prefix_missing"."""

    call_id: int
    name: str


class GetPrefixesCommand(msgspec.Struct, frozen=True, tag="get_prefixes"):
    call_id: int


class InspectCommand(msgspec.Struct, frozen=True, tag="inspect"):
    """Asks for the engine's state. The reply is an InspectionReply."""

    call_id: int


class ShutdownCommand(msgspec.Struct, frozen=True, tag="shutdown"):
    """Ends the worker. Running requests get no further output."""


CallCommand = (
    TokenizeCommand
    | DetokenizeCommand
    | RenderCommand
    | TokenizeChatCommand
    | EmbedCommand
    | RerankCommand
    | GetStatsCommand
    | PinCommand
    | UnpinCommand
    | GetPrefixesCommand
    | InspectCommand
)
Command = ConfigureCommand | SubmitCommand | CancelCommand | AbandonCommand | CallCommand | ShutdownCommand
