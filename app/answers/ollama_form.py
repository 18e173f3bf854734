"""Replies of /api/chat and /api/generate, made from the engine's outputs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from llmcore.completion import ToolCall
from llmcore.messages import Finished, TokenLogprob, Usage

from ..schemas.ollama_reply import (
    DoneReason,
    OllamaAnswerCall,
    OllamaAnswerFunction,
    OllamaAnswerMessage,
    OllamaChatReply,
    OllamaGenerateReply,
)
from .logprobs import answer_logprobs


@dataclass(frozen=True)
class AnswerPart:
    """A part of an answer. `calls` are complete."""

    text: str = ""
    reasoning: str = ""
    calls: Sequence[ToolCall] = ()
    logprobs: Sequence[TokenLogprob] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.reasoning or self.calls or self.logprobs)


class OllamaForm(Protocol):
    """Makes the replies of one endpoint."""

    def part(self, part: AnswerPart) -> msgspec.Struct:
        """Returns a part that is not the last."""

    def end(self, part: AnswerPart, finished: Finished) -> msgspec.Struct:
        """Returns the last part."""

    def load(self) -> msgspec.Struct:
        """Returns the reply to a request without a prompt: the model is loaded."""


class OllamaChatForm:
    """See OllamaForm. `started_s` is the monotonic time at which the request arrived."""

    def __init__(self, model: str, started_s: float) -> None:
        self._model = model
        self._started_s = started_s

    def part(self, part: AnswerPart) -> OllamaChatReply:
        return OllamaChatReply(message=_message(part), **_head(self._model, part))

    def end(self, part: AnswerPart, finished: Finished) -> OllamaChatReply:
        return OllamaChatReply(
            message=_message(part), **_head(self._model, part), **_end(finished, time.monotonic() - self._started_s)
        )

    def load(self) -> OllamaChatReply:
        return OllamaChatReply(message=_message(AnswerPart()), **_head(self._model, AnswerPart()), **_LOADED)


class OllamaGenerateForm:
    """See OllamaForm. `started_s` is the monotonic time at which the request arrived."""

    def __init__(self, model: str, started_s: float) -> None:
        self._model = model
        self._started_s = started_s

    def part(self, part: AnswerPart) -> OllamaGenerateReply:
        return OllamaGenerateReply(**self._fields(part))

    def end(self, part: AnswerPart, finished: Finished) -> OllamaGenerateReply:
        return OllamaGenerateReply(**self._fields(part), **_end(finished, time.monotonic() - self._started_s))

    def load(self) -> OllamaGenerateReply:
        return OllamaGenerateReply(**self._fields(AnswerPart()), **_LOADED)

    def _fields(self, part: AnswerPart) -> dict[str, Any]:
        text = {"response": part.text, "thinking": part.reasoning or UNSET}
        return _head(self._model, part) | text


_LOADED: dict[str, Any] = {"done": True, "done_reason": "load"}


def _message(part: AnswerPart) -> OllamaAnswerMessage:
    calls = [found for call in part.calls if (found := _answer_call(call)) is not None]
    return OllamaAnswerMessage(part.text, thinking=part.reasoning or UNSET, tool_calls=calls or UNSET)


def _answer_call(call: ToolCall) -> OllamaAnswerCall | None:
    """Returns the call with its arguments as an object. None if they are not complete, because the answer ended too early."""
    arguments = (call.arguments or "{}").encode()
    try:
        msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return OllamaAnswerCall(call.id, OllamaAnswerFunction(call.name, msgspec.Raw(arguments)))


def _head(model: str, part: AnswerPart) -> dict[str, Any]:
    logprobs = answer_logprobs(part.logprobs) if part.logprobs else UNSET
    return {"model": model, "created_at": datetime.now(timezone.utc), "logprobs": logprobs}


def _end(finished: Finished, total_s: float) -> dict[str, Any]:
    reason: DoneReason = "length" if finished.reason == "length" else "stop"
    return {"done": True, "done_reason": reason, "total_duration": nanoseconds(total_s)} | _counts(finished.usage)


def _counts(usage: Usage) -> dict[str, int]:
    return {
        "load_duration": 0,
        "prompt_eval_count": usage.n_prompt,
        "prompt_eval_duration": nanoseconds(usage.prefill_s),
        "eval_count": usage.n_generated,
        "eval_duration": nanoseconds(usage.decode_s),
    }


def nanoseconds(duration_s: float) -> int:
    """Returns a duration in nanoseconds. It is never 0: clients divide by it."""
    return max(1, round(duration_s * 1e9))
