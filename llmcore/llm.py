"""The library's front door: a model in this process, ready for prompts."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from llmcore.completion import Completion, Stream
from llmcore.config import EngineConfig
from llmcore.embedding.queue import EmbeddingQueue, EmbeddingResult
from llmcore.engine.encoder import open_engine
from llmcore.errors import ClosedError, InvalidRequestError, ModelMissingError
from llmcore.grammar.response_format import take_constraint
from llmcore.hub.model_store import default_model_path
from llmcore.llama.model import LoadProgress
from llmcore.machine.process import Process
from llmcore.messages import (
    Accepted,
    GenerateRequest,
    Output,
    Prompt,
    TextPrompt,
    TokensPrompt,
)
from llmcore.openai_arguments import chat_prompt
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import EmbedCommand, RerankCommand
from llmcore.sampling import sampling_params

T = TypeVar("T")


Messages = Sequence[Mapping[str, Any]]


class LLM:
    """A model in this process.

    Several threads may use it, and several streams may be open at once: they share each step. For a service that survives
    native crashes, use `llmcore.AsyncEngine` or the HTTP service. A forked child cannot use a model that was loaded before
    the fork: load in each process.

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
        self,
        model: str | bytes | os.PathLike[str] | None = None,
        *,
        progress: LoadProgress | None = None,
        **options: Any,
    ) -> None:
        self._lock = threading.RLock()
        self._inboxes: dict[str, deque[Output]] = {}
        self._ids = itertools.count()
        self._done: dict[str, EmbeddingResult] = {}
        self._closed = False
        self._process = Process.current
        path = _model_path(model)
        unknown = sorted(set(options) - set(EngineConfig.__dataclass_fields__))
        if unknown:
            raise InvalidRequestError(f"unknown option: {unknown[0]}", param=unknown[0])
        self.engine = open_engine(EngineConfig(model_path=path, **options), progress=progress)
        self.model = self.engine.model

    def close(self) -> None:
        """Frees the model, once a step that another thread computes has ended. Open streams end with ClosedError. Safe to call
        twice; in a process that was forked from this one, does nothing."""
        if not self._process.is_current:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
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
        **options: Any,
    ) -> Completion: ...
    @overload
    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[True],
        **options: Any,
    ) -> Stream: ...
    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stream: bool = False,
        **options: Any,
    ) -> Completion | Stream:
        """Continues a prompt: text (special text in it is plain text) or token ids.

        Args:
            max_tokens: length of the answer; None is up to the end of the context.
            stop: the answer ends before the first of these.
            stream: give an iterator of pieces of text instead of a Completion; closing it cancels the request.
            **options: any field of SamplingParams, such as temperature=0, top_p=0.9, seed=1; `logprobs=n` for the
                log-probabilities of each token and of n alternatives; and what the answer must look like, one of
                json_schema (a mapping, JSON text or a pydantic model), regex, grammar (Lark or GBNF), and response_format as
                in OpenAI's API.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError.
        """
        source: Prompt = TextPrompt(prompt) if isinstance(prompt, str) else TokensPrompt(_sequence(prompt, "prompt"))
        return self._answer(source, max_tokens, stop, stream, options)

    @overload
    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[False] = ...,
        **options: Any,
    ) -> Completion: ...
    @overload
    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] = ...,
        stream: Literal[True],
        **options: Any,
    ) -> Stream: ...
    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stream: bool = False,
        **options: Any,
    ) -> Completion | Stream:
        """Answers messages in OpenAI's form, `{"role": "user", "content": "Hello!"}`, by the model's chat template.

        Arguments and errors as generate(), and of OpenAI's API: tools, tool_choice, parallel_tool_calls, reasoning_effort;
        chat_template_kwargs (further variables of the template), and continue_final_message=True to go on with the last
        message instead of beginning a new one.
        """
        prompt = chat_prompt(messages, options)
        return self._answer(prompt, max_tokens, stop, stream, options)

    def _answer(
        self, prompt: Prompt, max_tokens: int | None, stop: str | Sequence[str], stream: bool, options: dict[str, Any]
    ) -> Completion | Stream:
        constraint, source = take_constraint(options)
        n_logprobs = options.pop("logprobs", None)
        request = GenerateRequest(
            request_id=f"llm-{next(self._ids)}",
            prompt=prompt,
            sampling=sampling_params(**options),
            max_tokens=max_tokens,
            stop=(stop,) if isinstance(stop, str) else _sequence(stop, "stop"),
            constraint=constraint,
            n_logprobs=n_logprobs,
        )
        self._check_process()
        with self._lock:
            self._check_open()
            try:
                self.engine.submit(request)
            except InvalidRequestError as error:
                error.param = _argument(error.param, source)
                raise
            self._inboxes[request.request_id] = deque()
        id = request.request_id
        answer = Stream(lambda: self._next_output(id), lambda: self._forget(id))
        if stream:
            return answer
        for _ in answer:
            pass
        return answer.parts.completion()

    def _next_output(self, request_id: str) -> Output:
        """The next output of a request; steps the engine, for all open requests, until there is one."""
        self._check_process()
        while True:
            with self._lock:
                self._check_open()
                inbox = self._inboxes[request_id]
                if inbox:
                    return inbox.popleft()
                self._deliver(self.engine.step())

    def _forget(self, request_id: str) -> None:
        if not self._process.is_current:
            return
        with self._lock:
            self._inboxes.pop(request_id, None)
            if not self._closed:
                self.engine.cancel(request_id)

    def _deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            inbox = self._inboxes.get(output.request_id)
            if inbox is not None and not isinstance(output, Accepted):
                inbox.append(output)

    def _check_process(self) -> None:
        """Raises ForkedError. To be called before the lock is taken, which a thread may have held that a forked child lacks."""
        self._process.check("this LLM")

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

    def embed(
        self, texts: str | Sequence[str | Sequence[int]], *, dimensions: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Embeddings of texts (or of token ids as they stand), each of length 1: float32[n_texts, n_embd], or float32[n_embd]
        for a single text. Many at once are cheaper than one after the other.

        Args:
            dimensions: cut to this length, for models that the option embed_dimensions names as trained for it.

        Raises UnsupportedError if the model gives none, ContextLengthError for a text that is too long.
        """
        several = (texts,) if isinstance(texts, str) else _sequence(texts, "texts")
        wanted = checked(EmbedCommand(0, several, dimensions))  # type: ignore[arg-type]  # checked
        id = f"llm-{next(self._ids)}"
        rows = self._compute(
            id, lambda jobs: jobs.submit(id, wanted.texts, dimensions=wanted.dimensions, param="texts")
        )
        return cast("npt.NDArray[np.float32]", rows[0]) if isinstance(texts, str) else rows

    def rerank(self, query: str, documents: Sequence[str]) -> npt.NDArray[np.float32]:
        """How well each document answers the query, as the model's own number: float32[n_documents]. For models that pool
        by rank. Raises as embed()."""
        wanted = checked(RerankCommand(0, query, _sequence(documents, "documents")))
        id = f"llm-{next(self._ids)}"
        return self._compute(id, lambda jobs: jobs.submit_pairs(id, wanted.query, wanted.documents))[:, 0]

    def _compute(self, id: str, submit: Callable[[EmbeddingQueue], None]) -> npt.NDArray[np.float32]:
        """Steps the embeddings of all threads until those of `id` are there."""
        self._check_process()
        jobs = self.engine.embeddings
        with self._lock:
            self._check_open()
            submit(jobs)
        try:
            while id not in self._done:
                with self._lock:
                    self._check_open()
                    self._done.update((str(done.id), done) for done in jobs.step(is_busy=self.engine.has_work))
        except BaseException:
            with self._lock:
                jobs.cancel(id)
            raise
        done = self._done.pop(id)
        if done.error is not None:
            raise done.error
        assert done.vectors is not None
        return done.vectors


def _model_path(model: str | bytes | os.PathLike[str] | None) -> str:
    if model is not None:
        return os.fsdecode(model)
    found = default_model_path()
    if found is None:
        raise ModelMissingError("no model was named and the default one is not here: run `llmcore pull`", param="model")
    return str(found)


def _argument(param: str | None, source: str) -> str | None:
    """The argument that the engine's own words stand for; `source` said what the answer must look like."""
    if param == "n_logprobs":
        return "logprobs"
    name, dot, path = (param or "").partition(".")
    return f"{source}{dot}{path}" if name == "constraint" else param


def _sequence(values: Iterable[T], name: str) -> tuple[T, ...]:
    try:
        return tuple(values)
    except TypeError:
        raise InvalidRequestError(f"{name} must be a sequence, got {type(values).__name__}", param=name) from None
