"""The two methods by which AsyncLLM answers: generate() and chat(), with the arguments of LLM's."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from llmcore.errors import LlmcoreError
from llmcore.library.answering import Messages
from llmcore.library.async_stream import AsyncStream
from llmcore.library.completion import Completion
from llmcore.library.events import Event
from llmcore.library.jobs import Jobs, Progress, StreamKind, chat_jobs, generate_jobs, given_arguments
from llmcore.library.options import ChatOptions, GenerateOptions
from llmcore.sampling import SamplingParams

if TYPE_CHECKING:
    from typing_extensions import Unpack

AsyncAnswer = Coroutine[Any, Any, Any] | AsyncStream[str] | AsyncStream[Event]


class AsyncAnswering:
    """See LLM's Answering."""

    # A text is a sequence of texts too, but the first form that fits is taken.
    @overload
    def generate(  # type: ignore[overload-overlap]
        self,
        prompt: str | Sequence[int],
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: Literal[False] = ...,
        **options: Unpack[GenerateOptions],
    ) -> Coroutine[Any, Any, Completion]: ...
    @overload
    def generate(
        self,
        prompt: str | Sequence[int],
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: Literal[True],
        **options: Unpack[GenerateOptions],
    ) -> AsyncStream[str]: ...
    @overload
    def generate(
        self,
        prompt: str | Sequence[int],
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: Literal["events"],
        **options: Unpack[GenerateOptions],
    ) -> AsyncStream[Event]: ...
    @overload
    def generate(
        self,
        prompt: str | Sequence[int],
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: bool,
        **options: Unpack[GenerateOptions],
    ) -> Coroutine[Any, Any, Completion] | AsyncStream[str]: ...
    @overload
    def generate(
        self,
        prompt: Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams | None] | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        errors: Literal["raise"] = ...,
        progress: Progress = ...,
        **options: Unpack[GenerateOptions],
    ) -> Coroutine[Any, Any, list[Completion]]: ...
    @overload
    def generate(
        self,
        prompt: Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams | None] | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        errors: Literal["return"],
        progress: Progress = ...,
        **options: Unpack[GenerateOptions],
    ) -> Coroutine[Any, Any, list[Completion | LlmcoreError]]: ...
    def generate(
        self,
        prompt: str | Sequence[int] | Sequence[str | Sequence[int]],
        params: SamplingParams | Sequence[SamplingParams | None] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        stream: StreamKind = False,
        errors: Literal["raise", "return"] = "raise",
        progress: Progress = False,
        **options: Unpack[GenerateOptions],
    ) -> AsyncAnswer:
        """Continues a prompt, or a list of prompts: see LLM.generate(). Await the answer; with stream=True or "events", iterate
        over what is returned with `async for`.
        """
        given = given_arguments(options, max_tokens, stop, stream=stream, errors=errors, progress=progress)
        return self._answer(lambda defaults: generate_jobs(prompt, params, defaults, given), stream)

    @overload
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: Literal[False] = ...,
        **options: Unpack[ChatOptions],
    ) -> Coroutine[Any, Any, Completion]: ...
    @overload
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncStream[str]: ...
    @overload
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: Literal["events"],
        **options: Unpack[ChatOptions],
    ) -> AsyncStream[Event]: ...
    @overload
    def chat(
        self,
        messages: Messages,
        params: SamplingParams | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        stream: bool,
        **options: Unpack[ChatOptions],
    ) -> Coroutine[Any, Any, Completion] | AsyncStream[str]: ...
    @overload
    def chat(
        self,
        messages: Sequence[Messages],
        params: SamplingParams | Sequence[SamplingParams | None] | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        errors: Literal["raise"] = ...,
        progress: Progress = ...,
        **options: Unpack[ChatOptions],
    ) -> Coroutine[Any, Any, list[Completion]]: ...
    @overload
    def chat(
        self,
        messages: Sequence[Messages],
        params: SamplingParams | Sequence[SamplingParams | None] | None = ...,
        *,
        max_tokens: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        errors: Literal["return"],
        progress: Progress = ...,
        **options: Unpack[ChatOptions],
    ) -> Coroutine[Any, Any, list[Completion | LlmcoreError]]: ...
    def chat(
        self,
        messages: Messages | Sequence[Messages],
        params: SamplingParams | Sequence[SamplingParams | None] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        stream: StreamKind = False,
        errors: Literal["raise", "return"] = "raise",
        progress: Progress = False,
        **options: Unpack[ChatOptions],
    ) -> AsyncAnswer:
        """Answers messages, or a list of conversations: see LLM.chat(). Await the answer; with stream=True or "events", iterate
        over what is returned with `async for`.
        """
        given = given_arguments(options, max_tokens, stop, stream=stream, errors=errors, progress=progress)
        return self._answer(lambda defaults: chat_jobs(messages, params, defaults, given), stream)

    def _answer(self, make_jobs: Callable[[SamplingParams], Jobs], stream: StreamKind) -> AsyncAnswer:
        """Returns what answers the jobs that `make_jobs` makes, once the model's sampling parameters are known."""
        raise NotImplementedError
