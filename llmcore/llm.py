"""LLM, the library's main class: a model in this process, ready for prompts."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt

from llmcore.completion import Completion, Stream
from llmcore.config import EngineConfig
from llmcore.embedding.job import EmbeddingResult
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.encoder import open_engine
from llmcore.errors import ClosedError, InvalidRequestError, ModelMissingError
from llmcore.grammar.response_format import take_constraint
from llmcore.hub.model_store import default_model_path
from llmcore.llama.model_load import LoadProgress
from llmcore.machine.process import Process
from llmcore.messages import (
    Accepted,
    GenerateRequest,
    Output,
    Prompt,
    TextPrompt,
    TokensPrompt,
)
from llmcore.openai_arguments import argument_name, chat_prompt, sequence_argument
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import EmbedCommand, RerankCommand
from llmcore.sampling import sampling_params

Messages = Sequence[Mapping[str, Any]]


class LLM:
    """A model in this process.

    Several threads may use it, and several streams may be open at once: they share each step. For a service that survives
    native crashes, use `llmcore.AsyncEngine` or the HTTP service. A forked child cannot use a model that was loaded before
    the fork: load in each process.

    Args:
        model: a GGUF file; by default, the model that `llmcore pull` fetched.
        progress: called with 0..1 while loading; returning False stops it.
        **options: any option of EngineConfig, such as n_ctx=4096, threads=2, n_slots=8.

    Raises ModelMissingError, ModelError or a subclass such as InsufficientMemoryError, ConfigError; InvalidRequestError for
    an unknown option.

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
        self._outputs: dict[str, deque[Output]] = {}
        self._ids = itertools.count()
        self._results: dict[str, EmbeddingResult] = {}
        self._is_closed = False
        self._process = Process.current
        path = _model_path(model)
        unknown = sorted(set(options) - set(EngineConfig.__dataclass_fields__))
        if unknown:
            raise InvalidRequestError(f"unknown option: {unknown[0]}", param=unknown[0])
        self.engine = open_engine(EngineConfig(model_path=path, **options), progress=progress)
        self.model = self.engine.model

    def close(self) -> None:
        """Frees the model, after the step that another thread computes. Open streams end with ClosedError. Idempotent. Does
        nothing in a process that was forked from this one."""
        if not self._process.is_current:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
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
            stream: return an iterator of pieces of text instead of a Completion; closing it cancels the request.
            **options: any field of SamplingParams, such as temperature=0, top_p=0.9, seed=1; `logprobs=n` for the
                log-probabilities of each token and of n alternatives; and a constraint: one of json_schema (a mapping, JSON text
                or a pydantic model), regex, grammar (Lark or GBNF), and response_format as in OpenAI's API.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError.
        """
        source: Prompt = (
            TextPrompt(prompt) if isinstance(prompt, str) else TokensPrompt(sequence_argument(prompt, "prompt"))
        )
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
            stop=(stop,) if isinstance(stop, str) else sequence_argument(stop, "stop"),
            constraint=constraint,
            n_logprobs=n_logprobs,
        )
        self._check_process()
        with self._lock:
            self._check_open()
            try:
                self.engine.submit(request)
            except InvalidRequestError as error:
                error.param = argument_name(error.param, source)
                raise
            self._outputs[request.request_id] = deque()
        id = request.request_id
        answer = Stream(lambda: self._next_output(id), lambda: self._forget(id))
        if stream:
            return answer
        for _ in answer:
            pass
        return answer.parts.completion()

    def _next_output(self, request_id: str) -> Output:
        """Returns the next output of a request. Steps the engine, for all open requests, until there is one."""
        self._check_process()
        while True:
            with self._lock:
                self._check_open()
                outputs = self._outputs[request_id]
                if outputs:
                    return outputs.popleft()
                self._deliver(self.engine.step())

    def _forget(self, request_id: str) -> None:
        if not self._process.is_current:
            return
        with self._lock:
            self._outputs.pop(request_id, None)
            if not self._is_closed:
                self.engine.cancel(request_id)

    def _deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            queue = self._outputs.get(output.request_id)
            if queue is not None and not isinstance(output, Accepted):
                queue.append(output)

    def _check_process(self) -> None:
        """Raises ForkedError. Called before the lock is taken: in a forked child, the thread that held it may not exist."""
        self._process.check("this LLM")

    def _check_open(self) -> None:
        if self._is_closed:
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
        """Embeddings of texts, or of token ids, as unit vectors: float32[n_texts, n_embd], or float32[n_embd] for a single text.
        One call with many texts is cheaper than many calls.

        Args:
            dimensions: length to cut the vectors to, if the option embed_dimensions says that the model was trained for it.

        Raises UnsupportedError if the model has no embeddings, ContextLengthError for a text that is too long.
        """
        several = (texts,) if isinstance(texts, str) else sequence_argument(texts, "texts")
        wanted = checked(EmbedCommand(0, several, dimensions))  # type: ignore[arg-type]  # checked
        id = f"llm-{next(self._ids)}"
        rows = self._compute(
            id, lambda jobs: jobs.submit(id, wanted.texts, dimensions=wanted.dimensions, param="texts")
        )
        return cast("npt.NDArray[np.float32]", rows[0]) if isinstance(texts, str) else rows

    def rerank(self, query: str, documents: Sequence[str]) -> npt.NDArray[np.float32]:
        """Scores how well each document answers the query, on the model's own scale: float32[n_documents]. For models with
        pooling "rank". Raises the errors of embed()."""
        wanted = checked(RerankCommand(0, query, sequence_argument(documents, "documents")))
        id = f"llm-{next(self._ids)}"
        return self._compute(id, lambda jobs: jobs.submit_pairs(id, wanted.query, wanted.documents))[:, 0]

    def _compute(self, id: str, submit: Callable[[EmbeddingQueue], None]) -> npt.NDArray[np.float32]:
        """Submits a job, and steps the jobs of all threads until its vectors are computed."""
        self._check_process()
        jobs = self.engine.embeddings
        with self._lock:
            self._check_open()
            submit(jobs)
        try:
            while id not in self._results:
                with self._lock:
                    self._check_open()
                    self._results.update((str(done.id), done) for done in jobs.step(is_busy=self.engine.has_work))
        except BaseException:
            with self._lock:
                jobs.cancel(id)
            raise
        result = self._results.pop(id)
        if result.error is not None:
            raise result.error
        assert result.vectors is not None
        return result.vectors


def _model_path(model: str | bytes | os.PathLike[str] | None) -> str:
    if model is not None:
        return os.fsdecode(model)
    found = default_model_path()
    if found is None:
        raise ModelMissingError("no model was named and the default one is not here: run `llmcore pull`", param="model")
    return str(found)
