"""Calls of generate() and chat() made into jobs: one for each prompt, checked before any of them is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from llmcore.errors import InvalidRequestError, LlmcoreError
from llmcore.library.arguments import (
    AnswerArguments,
    answer_arguments,
    argument_name,
    chat_arguments,
)
from llmcore.library.prompt_arguments import chat_prompt, generate_prompt
from llmcore.messages import GenerateRequest, Prompt
from llmcore.sampling import SamplingParams
from llmcore.values import plain_value, wrong_value

StreamKind = Literal[False, True, "events"]
Progress = bool | Callable[[int, int], object]


@dataclass(frozen=True)
class Job:
    """A prompt to be answered, or the error that its place in a list gets."""

    prompt: Prompt | LlmcoreError
    arguments: AnswerArguments

    def requests(self, new_id: Callable[[], str]) -> list[GenerateRequest]:
        """Returns the engine's requests for its n answers."""
        assert not isinstance(self.prompt, LlmcoreError), "such a job has ended"
        ids = [new_id() for _ in range(self.arguments.n)]
        group = ids[0] if len(ids) > 1 else ""
        return [self.arguments.request(id, self.prompt, choice, group) for choice, id in enumerate(ids)]

    def rename(self, error: LlmcoreError) -> LlmcoreError:
        """Gives an error of the engine the name of the argument at fault."""
        if isinstance(error, InvalidRequestError):
            error.param = argument_name(error.param, self.arguments.constraint_name)
        return error


@dataclass(frozen=True)
class Jobs:
    """A call: its jobs, and how the answers are returned. `name` is the argument with the prompts."""

    jobs: Sequence[Job]
    name: str
    is_list: bool
    stream: StreamKind = False
    keeps_errors: bool = False  # errors="return"
    progress: Progress = False

    def located(self, error: LlmcoreError, index: int) -> LlmcoreError:
        """Adds the place of the prompt to an error, if there are several."""
        if not self.is_list or error.index is not None:
            return error
        error.index = index
        place = f"{self.name}[{index}]"
        if error.param is not None and error.param.startswith(self.name):
            error.param = place + error.param.removeprefix(self.name)
        inner = error.message.removeprefix(self.name)
        error.message = place + inner if inner[:1] in (" ", "[") else f"{place}: {error.message}"
        error.args = (error.message,)
        return error


def given_arguments(options: Mapping[str, Any], max_tokens: Any, stop: Any, **others: Any) -> dict[str, Any]:
    """Returns all arguments of a call but the prompt and the sampling parameters; max_tokens and stop if they were given."""
    given = {**options, **others}
    for name, value in (("max_tokens", max_tokens), ("stop", stop)):
        if value is not None:
            given[name] = value
    return given


def generate_jobs(prompt: Any, params: Any, defaults: SamplingParams, given: Mapping[str, Any]) -> Jobs:
    """Returns the jobs of generate(). `given` are all its other arguments. Raises InvalidRequestError, naming the argument."""
    prompt = _listed(plain_value(prompt))
    prompts = prompt if _is_list_of_prompts(prompt) else None
    return _jobs("prompt", prompt, prompts, params, defaults, given, generate_prompt, answer_arguments)


def chat_jobs(messages: Any, params: Any, defaults: SamplingParams, given: Mapping[str, Any]) -> Jobs:
    """Returns the jobs of chat(). `given` are all its other arguments. Raises InvalidRequestError, naming the argument."""
    messages = _listed(messages)
    prompts = messages if _is_list_of_conversations(messages) else None
    return _jobs("messages", messages, prompts, params, defaults, given, chat_prompt, chat_arguments)


def _is_list_of_prompts(value: Any) -> bool:
    """True for a list of texts or of lists of token ids. A list of numbers is one prompt of token ids; so is an empty list, which
    is refused later."""
    return _is_sequence(value) and len(value) > 0 and (isinstance(value[0], str) or _is_sequence(plain_value(value[0])))


def _is_list_of_conversations(value: Any) -> bool:
    """True for a list of lists. A list of messages is one conversation; so is an empty list, which is refused later."""
    return _is_sequence(value) and len(value) > 0 and _is_sequence(value[0])


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, Iterator) else value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _jobs(
    name: str,
    prompt: Any,
    prompts: Sequence[Any] | None,
    params: Any,
    defaults: SamplingParams,
    given: Mapping[str, Any],
    read_prompt: Callable[[Any, dict[str, Any]], Prompt],
    read_arguments: Callable[..., AnswerArguments],
) -> Jobs:
    """Makes the jobs of a call. `prompts` is None if `prompt` is a single one."""
    options = dict(given)
    stream, progress = stream_kind(options.pop("stream", False)), _progress(options.pop("progress", False))
    jobs = Jobs([], name, prompts is not None, stream, _keeps_errors(options.pop("errors", "raise")), progress)
    read = [
        _read(jobs, each, index, options, read_prompt)
        for index, each in enumerate([prompt] if prompts is None else prompts)
    ]
    rest = next((rest for found, rest in read if not isinstance(found, LlmcoreError)), {})
    each_params = _params_of_each(params, len(read)) if jobs.is_list else None
    common = read_arguments(params if each_params is None else None, defaults, rest)
    _check_returns(jobs, common.n)
    arguments = [common] * len(read)
    for index, each in enumerate(each_params or ()):
        if each is not None:
            arguments[index] = common.with_params(each, f"params[{index}]")
    return replace(jobs, jobs=[Job(found, each) for (found, _), each in zip(read, arguments, strict=True)])


def _read(
    jobs: Jobs,
    prompt: Any,
    index: int,
    options: Mapping[str, Any],
    read_prompt: Callable[[Any, dict[str, Any]], Prompt],
) -> tuple[Prompt | LlmcoreError, dict[str, Any]]:
    """Returns a prompt, or its error if errors are returned in place, and the options that do not concern prompts."""
    rest = dict(options)
    try:
        return read_prompt(prompt, rest), rest
    except InvalidRequestError as error:
        is_of_prompt = error.param is not None and error.param.startswith(jobs.name)
        jobs.located(error, index)
        if not (jobs.keeps_errors and is_of_prompt):
            raise
        return error, rest


def _params_of_each(params: Any, n: int) -> list[Any] | None:
    """Returns the parameters of each of n prompts, or None if all have the same."""
    if params is None or isinstance(params, SamplingParams):
        return None
    if not _is_sequence(params):
        raise wrong_value("params", "a SamplingParams, or a list with one for each prompt", params)
    if len(params) != n:
        message = f"params must have one SamplingParams for each of the {n} prompts, got {len(params)}"
        raise InvalidRequestError(message, param="params")
    return list(params)


def stream_kind(value: Any) -> StreamKind:
    """Returns the argument `stream`. Raises InvalidRequestError."""
    value = plain_value(value)
    if value is True or value is False:
        return bool(value)
    if value == "events":
        return "events"
    raise wrong_value("stream", 'True, False or "events"', value)


def _keeps_errors(value: Any) -> bool:
    if value not in ("raise", "return"):
        raise wrong_value("errors", '"raise" or "return"', value)
    return bool(value == "return")


def _progress(value: Any) -> Progress:
    value = plain_value(value)
    if not isinstance(value, bool) and not callable(value):
        raise wrong_value("progress", "True, False or a function of (n_done, n)", value)
    return cast("Progress", value)


def _check_returns(jobs: Jobs, n: int) -> None:
    """Raises InvalidRequestError if the answers cannot be returned as the arguments say."""
    if jobs.stream and jobs.is_list:
        raise InvalidRequestError("stream needs a single prompt: open a stream for each of them", param="stream")
    if jobs.stream and n > 1:
        raise InvalidRequestError("n needs stream=False: a stream is one answer", param="n")
    if not jobs.is_list and jobs.keeps_errors:
        raise InvalidRequestError('errors="return" is for a list of prompts', param="errors")
    if not jobs.is_list and jobs.progress:
        raise InvalidRequestError("progress is for a list of prompts", param="progress")
