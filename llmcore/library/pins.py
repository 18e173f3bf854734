"""Prefixes that are computed now and kept in the cache until they are unpinned."""

from __future__ import annotations

import re

from llmcore.errors import EngineError, InvalidRequestError
from llmcore.library.checks import text
from llmcore.library.local_engine import LocalEngine
from llmcore.messages import PREFIX_NAME_PATTERN, PREFIX_NAME_RULE, PrefixInfo, PrefixSpec, Prompt


def pin(local: LocalEngine, name: str, prompt: Prompt) -> PrefixInfo:
    """Computes a prefix and pins it. Raises InvalidRequestError, ContextLengthError, OverloadedError, or EngineError if it
    cannot be computed."""
    if not re.fullmatch(PREFIX_NAME_PATTERN, text(name, "name")):
        raise InvalidRequestError(f"name must have {PREFIX_NAME_RULE}, got {name!r}", param="name")
    local.locked(lambda engine: engine.prefixes.pin(PrefixSpec(name=name, prompt=prompt)))
    local.step_until(lambda: not _is_open(local, name))
    for info in pins(local):
        if info.name == name:
            return info
    raise EngineError(f"the prefix {name!r} cannot be computed: the log says why")


def unpin(local: LocalEngine, name: str) -> None:
    """Unpins a prefix. Raises PrefixMissingError."""
    local.locked(lambda engine: engine.prefixes.unpin(text(name, "name")))


def pins(local: LocalEngine) -> list[PrefixInfo]:
    """Returns the prefixes that are pinned or are being computed, in order of name."""
    return local.locked(lambda engine: engine.prefixes.infos())


def _is_open(local: LocalEngine, name: str) -> bool:
    return any(info.name == name and not info.is_computed for info in pins(local))
