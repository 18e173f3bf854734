"""The library's front door: a model in this process, ready for prompts."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from llmcore.config import EngineConfig
from llmcore.embed import Embedder
from llmcore.engine import Engine
from llmcore.errors import ClosedError, InvalidRequestError, ModelMissingError, error_from_code
from llmcore.hub import default_model_path
from llmcore.messages import (
    Accepted,
    ChatPrompt,
    Failed,
    Finished,
    FinishReason,
    GenerateRequest,
    Output,
    Prompt,
    TextPrompt,
    TokensPrompt,
    Usage,
)
from llmcore.model import Progress
from llmcore.sampling import sampling_params


@dataclass(frozen=True)
class Completion:
    """A whole answer. `str(completion)` is its text."""

    text: str
    finish_reason: FinishReason
    usage: Usage

    def __str__(self) -> str:
        return self.text


Messages = Sequence[Mapping[str, Any]]


class LLM:
    """A model in this process.

    Several threads may use it, and several streams may be open at once: they share each step. For a service that survives
    native crashes, use `llmcore.client.AsyncEngine` or the HTTP service.

    Args:
        model: a GGUF file; without one, the default model that `llmcore pull` fetched.
        progress: called with 0..1 while loading; returning False stops.
        **options: any option of EngineConfig, such as n_ctx=4096, threads=2, n_slots=8.

    Raises ModelMissingError, ModelError and its kin, InsufficientMemoryError, ConfigError (also for an unknown option).

    >>> with LLM() as llm:                                                              # doctest: +SKIP
    ...     print(llm.chat([{"role": "user", "content": "Hello!"}]))
    ...     for piece in llm.generate("Once upon a time", max_tokens=32, stream=True):
    ...         print(piece, end="", flush=True)
    """

    def __init__(
        self, model: str | os.PathLike[str] | None = None, *, progress: Progress | None = None, **options: Any
    ) -> None:
        self._lock = threading.RLock()
        self._inboxes: dict[str, deque[Output]] = {}
        self._ids = itertools.count()
        self._embedder: Embedder | None = None
        self._closed = False
        path = _model_path(model)
        unknown = sorted(set(options) - set(EngineConfig.__dataclass_fields__))
        if unknown:
            raise InvalidRequestError(f"unknown option: {unknown[0]}", param=unknown[0])
        self.engine = Engine.open(EngineConfig(model_path=path, **options), progress=progress)
        self.model = self.engine.model

    def close(self) -> None:
        """Frees the model. Open streams end with ClosedError. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._embedder is not None:
                self._embedder.close()
            self.engine.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Answers ------------------------------------------------------------------------------------------------------

    @overload
    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[False] = ...,
        **sampling: Any,
    ) -> Completion: ...
    @overload
    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[True],
        **sampling: Any,
    ) -> Iterator[str]: ...
    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stream: bool = False,
        **sampling: Any,
    ) -> Completion | Iterator[str]:
        """Continues a prompt: text (special text in it is plain text) or token ids.

        Args:
            max_tokens: length of the answer; None is up to the end of the context.
            stop: the answer ends before the first of these.
            stream: give an iterator of pieces of text instead of a Completion; closing it cancels the request.
            **sampling: any field of SamplingParams, such as temperature=0, top_p=0.9, seed=1.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError.
        """
        source: Prompt = TextPrompt(prompt) if isinstance(prompt, str) else TokensPrompt(tuple(prompt))
        return self._answer(source, max_tokens, stop, stream, sampling)

    @overload
    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[False] = ...,
        **sampling: Any,
    ) -> Completion: ...
    @overload
    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[True],
        **sampling: Any,
    ) -> Iterator[str]: ...
    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stream: bool = False,
        **sampling: Any,
    ) -> Completion | Iterator[str]:
        """Answers messages in OpenAI's form, `{"role": "user", "content": "Hello!"}`, by the model's chat template.

        Arguments and errors as generate().
        """
        if not messages:
            raise InvalidRequestError("messages must not be empty", param="messages")
        raw = json.dumps(list(messages)).encode()
        return self._answer(ChatPrompt(raw), max_tokens, stop, stream, sampling)

    def _answer(
        self, prompt: Prompt, max_tokens: int | None, stop: str | Sequence[str], stream: bool, sampling: dict[str, Any]
    ) -> Completion | Iterator[str]:
        request = GenerateRequest(
            request_id=f"llm-{next(self._ids)}",
            prompt=prompt,
            sampling=sampling_params(**sampling),
            max_tokens=max_tokens,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
        )
        with self._lock:
            self._check_open()
            self.engine.submit(request)
            self._inboxes[request.request_id] = deque()
        outputs = self._outputs(request.request_id)
        if stream:
            return (output.text for output in outputs if output.text)
        text = ""
        for output in outputs:
            text += output.text
            if isinstance(output, Finished):
                return Completion(text, output.reason, output.usage)
        raise AssertionError("an answer ends with Finished or an error")

    def _outputs(self, request_id: str) -> Iterator[Any]:
        """Steps the engine for all open requests, and yields what concerns this one."""
        inbox = self._inboxes[request_id]
        try:
            while True:
                with self._lock:
                    if not inbox:
                        self._check_open()
                        self._deliver(self.engine.step())
                while inbox:
                    output = inbox.popleft()
                    if isinstance(output, Failed):
                        raise error_from_code(output.code, output.message, output.param)
                    yield output
                    if isinstance(output, Finished):
                        return
        finally:
            with self._lock:
                del self._inboxes[request_id]
                if not self._closed:
                    self.engine.cancel(request_id)

    def _deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            inbox = self._inboxes.get(output.request_id)
            if inbox is not None and not isinstance(output, Accepted):
                inbox.append(output)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this LLM is closed")

    # --- Tokens and vectors -------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see Model.tokenize."""
        return self.model.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int], *, unparse_special: bool = False) -> str:
        """Text of tokens; see Model.detokenize."""
        return self.model.detokenize(tokens, unparse_special=unparse_special)

    def embed(self, texts: str | Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings of texts, each of length 1: float32[n_texts, n_embd], or float32[n_embd] for a single text.

        Raises UnsupportedError if the model gives none, ContextLengthError for a text that is too long.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        if not several:
            raise InvalidRequestError("there is no text to embed", param="texts")
        with self._lock:
            self._check_open()
            if self._embedder is None:
                self._embedder = Embedder(self.model, threads=self.engine.threads)
            rows = np.stack([self._embedder.embed(text) for text in several])
        vectors: npt.NDArray[np.float32] = rows[0] if isinstance(texts, str) else rows
        return vectors


def _model_path(model: str | os.PathLike[str] | None) -> str:
    if model is not None:
        return os.fspath(model)
    found = default_model_path()
    if found is None:
        raise ModelMissingError("no model was named and the default one is not here: run `llmcore pull`", param="model")
    return str(found)
