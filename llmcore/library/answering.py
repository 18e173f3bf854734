"""The two methods by which LLM answers: generate() and chat(), for one prompt or a list of them, whole or as a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from llmcore.errors import InvalidRequestError, LlmcoreError
from llmcore.library.completion import Completion
from llmcore.library.events import Event, EventReader, TextReader
from llmcore.library.jobs import Jobs, Progress, StreamKind, chat_jobs, generate_jobs, given_arguments
from llmcore.library.lists import answer_list
from llmcore.library.local_engine import LocalEngine
from llmcore.library.options import ChatOptions, GenerateOptions
from llmcore.library.stream import Stream
from llmcore.sampling import SamplingParams

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Messages of a conversation: mappings in OpenAI's form, and answers.
Messages = Sequence[Mapping[str, Any] | Completion]
Answer = Completion | LlmcoreError | Stream[str] | Stream[Event] | Sequence[Completion | LlmcoreError]


class Answering:
    """The methods generate() and chat() of LLM, which brings the engine and the sampling parameters for which none are given."""

    _local: LocalEngine
    default_sampling: SamplingParams

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
    ) -> Completion: ...
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
    ) -> Stream[str]: ...
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
    ) -> Stream[Event]: ...
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
    ) -> Completion | Stream[str]: ...
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
    ) -> list[Completion]: ...
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
    ) -> list[Completion | LlmcoreError]: ...
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
    ) -> Answer:
        """Continues a prompt: text (special text in it is plain text) or token ids. A list of prompts gives a list of answers.

        The answers to a list come in its order. They are computed together, as many at a time as the engine has room for: no
        limit on waiting requests holds for them. A list whose first item is a number is one prompt of token ids. Ctrl-C and
        errors cancel all of the list.

        Args:
            params: sampling parameters, instead of the model's defaults; single options below change them. With a list of
                prompts, a list with one for each of them (None: the defaults) or one for all.
            max_tokens: length of the answer; None or -1 is up to the end of the context.
            stop: the answer ends before the first of these.
            stream: return a Stream of pieces of text instead of a Completion, or of events ("events"); closing it cancels
                the request.
            errors: of the prompts of a list. "raise" ends the list with the first error, whose `index` is the place of its
                prompt; all prompts are read before the first one is computed. "return" puts the error in its place of
                the list.
            progress: of a list. True shows a bar on stderr; a function is called with (n_done, n).
            **options: any field of SamplingParams, such as temperature=0, top_p=0.9, seed=1; `n` answers to each prompt
                (Completion.choices; with a seed, answer i is drawn with seed + i); `logprobs=n` for the log-probabilities
                of each token and of n alternatives; stop_token_ids, ignore_eos, min_tokens, timeout_s, priority;
                speculation="off" (every token takes a step; the answer is the same) and prediction (much of the answer, as
                far as it is known, which comes sooner then); suffix (the answer is the text between prompt and suffix); and
                a constraint: one of json_schema (a mapping, JSON text, or a type: a pydantic model, dataclass, Enum …, see
                Completion.parsed), regex, grammar (Lark or GBNF), choice (the answer is one of these texts), and
                response_format as in OpenAI's API, or a type. Other libraries' names of the same are taken (options.py).

        `prompt_logprobs=n` adds the log-probabilities of the prompt's tokens, with n alternatives each. It is slow: the whole
        prompt is computed anew, and the output layer for each of its tokens.

        `logits_processor` is a function, or several, called before each token is drawn: it takes the ids of all tokens so far
        (int32[n], prompt and answer) and the logits (float32[n_vocab], a copy), and returns logits. It is slow: all streams
        wait for it, and logits are copied to it. It cannot use this LLM. If it raises, the answer ends with
        LogitsProcessorError.

        Raises InvalidRequestError (naming the argument), ContextLengthError, OverloadedError (not for lists).
        """
        given = given_arguments(options, max_tokens, stop, stream=stream, errors=errors, progress=progress)
        return self._answer(generate_jobs(prompt, params, self.default_sampling, given))

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
    ) -> Completion: ...
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
    ) -> Stream[str]: ...
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
    ) -> Stream[Event]: ...
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
    ) -> Completion | Stream[str]: ...
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
    ) -> list[Completion]: ...
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
    ) -> list[Completion | LlmcoreError]: ...
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
    ) -> Answer:
        """Answers messages in OpenAI's form, `{"role": "user", "content": "Hello!"}`, by the model's chat template. A list of
        conversations gives a list of answers.

        A message may be an earlier answer (a Completion) as it is. Arguments and errors as generate(), and of OpenAI's API:
        tools, tool_choice, parallel_tool_calls, reasoning_effort; chat_template_kwargs (further variables of the template),
        and continue_final_message=True to go on with the last message instead of beginning a new one.
        """
        given = given_arguments(options, max_tokens, stop, stream=stream, errors=errors, progress=progress)
        return self._answer(chat_jobs(messages, params, self.default_sampling, given))

    def _answer(self, jobs: Jobs) -> Answer:
        if jobs.is_list or jobs.jobs[0].arguments.n > 1:
            answers = answer_list(self._local, jobs)
            return answers if jobs.is_list else answers[0]
        [job] = jobs.jobs
        [request] = job.requests(self._local.new_id)
        response_type, processors = job.arguments.response_type, job.arguments.logits_processors
        try:
            if jobs.stream == "events":
                return self._local.stream(request, EventReader(response_type), response_type, processors)
            stream = self._local.stream(request, TextReader(), response_type, processors)
        except InvalidRequestError as error:
            raise job.rename(error) from None
        return stream if jobs.stream else stream.completion
