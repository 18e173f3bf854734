"""The file of prefixes to pin at start (option prefix_file), as docs/API.md describes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from llmcore.errors import ConfigError
from llmcore.messages import (
    PREFIX_NAME_PATTERN,
    PREFIX_NAME_RULE,
    ChatPrompt,
    PrefixSpec,
    Prompt,
    TextPrompt,
    TokensPrompt,
)


class PrefixEntry(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of the file: the first messages of a conversation, or a text, or token ids."""

    name: str
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None  # with messages
    prompt: str | list[int] | None = None


def read_prefix_file(path: str) -> list[PrefixSpec]:
    """Reads the prefixes to pin. Raises ConfigError, naming the entry at fault."""
    try:
        entries = msgspec.json.decode(Path(path).read_bytes(), type=list[PrefixEntry])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"prefix_file: cannot read {path}: {error}", param="prefix_file") from None
    names = [each.name for each in entries]
    for each in entries:
        if not re.fullmatch(PREFIX_NAME_PATTERN, each.name):
            raise ConfigError(f"prefix_file: {each.name!r} is no name: {PREFIX_NAME_RULE}", param="prefix_file")
        if names.count(each.name) > 1:
            raise ConfigError(f"prefix_file: the name {each.name!r} is not unique", param="prefix_file")
        if (each.messages is None) == (each.prompt is None):
            message = f"prefix_file: {each.name!r} must have either messages or prompt"
            raise ConfigError(message, param="prefix_file")
        if each.tools is not None and each.messages is None:
            raise ConfigError(f"prefix_file: {each.name!r} has tools without messages", param="prefix_file")
    return [PrefixSpec(name=each.name, prompt=_prompt(each)) for each in entries]


def _prompt(entry: PrefixEntry) -> Prompt:
    if entry.messages is not None:
        tools = msgspec.json.encode(entry.tools) if entry.tools else b""
        return ChatPrompt(msgspec.json.encode(entry.messages), tools=tools)
    return TextPrompt(entry.prompt) if isinstance(entry.prompt, str) else TokensPrompt(tuple(entry.prompt or ()))
