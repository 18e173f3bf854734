"""Prompts with their computed cells in files, so that another process need not compute them again."""

from __future__ import annotations

import json
import os
from collections.abc import Sized
from pathlib import Path
from typing import Any

import msgspec

from llmcore.errors import ContextLengthError, EngineError, InvalidRequestError, StateFileError
from llmcore.library.local_engine import LocalEngine
from llmcore.library.scoring import GREEDY
from llmcore.machine.atomic_write import replaced_file
from llmcore.messages import ChatPrompt, GenerateRequest, Prompt, TextPrompt, TokensPrompt
from llmcore.startup.state_file import StateHeader, packed, unpacked
from llmcore.values import wrong_value

# Another thread's requests may evict the cells before they are copied.
_N_TRIES = 3


def save_prompt(local: LocalEngine, prompt: Prompt, path: Any) -> int:
    """Writes a prompt and its cells to a file, which only its owner can read: it holds the text. What is not in the cache is
    computed first. Returns the number of tokens. Raises InvalidRequestError, ContextLengthError, OSError."""
    file = _path(path)
    tokens = local.locked(lambda engine: engine.prefixes.read(prompt))
    header = StateHeader(local.locked(lambda engine: engine.states.fingerprint), tokens, msgspec.msgpack.encode(prompt))
    parts = packed(header, _state(local, tokens))
    with replaced_file(file) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(parts)
    return len(tokens)


def load_prompt(local: LocalEngine, path: Any) -> str | list[int] | list[dict[str, Any]]:
    """Takes the cells of a file into the cache, and returns the prompt that they belong to: a text, token ids, or messages.

    Raises StateFileError for a file that is damaged, of another kind, or of another model, build or KV types; ContextLengthError
    if it does not fit beside what runs and is pinned; OSError. Nothing changes then.
    """
    file = _path(path)
    try:
        header, state = unpacked(file.read_bytes())
        prompt = msgspec.msgpack.decode(header.prompt, type=Prompt)
    except StateFileError as error:
        raise StateFileError(f"cannot load {file}: {error.message}", param="path") from None
    except msgspec.DecodeError:
        raise StateFileError(f"cannot load {file}: it was not saved by LLM.save()", param="path") from None
    if header.fingerprint != local.locked(lambda engine: engine.states.fingerprint):
        problem = "it belongs to another model file, another build, or other types of the KV cache"
        raise StateFileError(f"cannot load {file}: {problem}", param="path")
    if not local.locked(lambda engine: engine.states.load(header.tokens, state)):
        n, n_ctx = len(header.tokens), local.engine.limits.n_ctx
        problem = (
            f"cannot load {file}: it has {n} tokens, for which too few of the context's {n_ctx} cells can be made free"
        )
        raise ContextLengthError(problem, n_prompt=n, n_ctx=n_ctx, param="path")
    return _as_given(prompt)


def _state(local: LocalEngine, tokens: list[int]) -> Sized:
    for _ in range(_N_TRIES):
        state = local.locked(lambda engine: engine.states.save(tokens))
        if state is not None:
            return state
        request = GenerateRequest(
            request_id=local.new_id(), prompt=TokensPrompt(tuple(tokens)), sampling=GREEDY, max_tokens=1
        )
        local.answer_all([request])
    raise EngineError(
        "the prompt's cells are evicted as soon as they are computed: other requests need all of the context"
    )


def _as_given(prompt: Prompt) -> str | list[int] | list[dict[str, Any]]:
    if isinstance(prompt, ChatPrompt):
        messages: list[dict[str, Any]] = json.loads(prompt.messages)
        return messages
    return prompt.text if isinstance(prompt, TextPrompt) else list(prompt.tokens)


def _path(path: Any) -> Path:
    if not isinstance(path, (str, bytes, os.PathLike)) or not path:
        raise (
            wrong_value("path", "a path", path)
            if path != ""
            else InvalidRequestError("path must not be empty", param="path")
        )
    return Path(os.fsdecode(path))
