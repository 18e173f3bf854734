"""Arguments of LLM made into prompts and requests, and checked. Their names are OpenAI's where it has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmcore.engine.logits_processor import LogitsProcessor
from llmcore.grammar.response_format import take_constraint
from llmcore.library.checks import (
    number_above,
    pop_given,
    text,
    texts,
    token_ids,
    truth,
    whole_number,
)
from llmcore.library.options import ChatOptions, GenerateOptions
from llmcore.library.other_names import ANSWER_NAMES, unknown_argument, with_our_names
from llmcore.library.response_type import ResponseType, take_response_type
from llmcore.library.sampling_defaults import with_changes
from llmcore.messages import (
    N_LOGPROBS_MAX,
    PRIORITIES,
    SPECULATION_MODES,
    Constraint,
    GenerateRequest,
    Priority,
    Prompt,
    SpeculationMode,
)
from llmcore.sampling import MAX_SEED, SamplingParams, sampling_params
from llmcore.values import plain_value, wrong_value

# Answers to one prompt.
N_CHOICES_MAX = 128

# Fields of GenerateRequest and its prompt whose arguments have other names.
_OTHER_FIELDS = {"n_logprobs": "logprobs", "n_prompt_logprobs": "prompt_logprobs", "tokens": "prompt"}

# Values by which other libraries turn a parameter off, and ours.
_OFF: dict[str, tuple[int, Any]] = {"top_k": (-1, 0), "seed": (-1, None), "max_tokens": (-1, None)}

_CHAT = ChatOptions.__annotations__.keys() | {"max_tokens", "stop", "stream"}
_GENERATE = GenerateOptions.__annotations__.keys() | {"max_tokens", "stop", "stream"}


@dataclass(frozen=True)
class AnswerArguments:
    """Arguments of an answer that do not concern its prompt, checked. `constraint_name` is the argument of the constraint, and
    `changes` are the sampling parameters given as keyword arguments, which `sampling` contains already."""

    sampling: SamplingParams
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    constraint: Constraint | None = None
    constraint_name: str = ""
    n_logprobs: int | None = None
    priority: Priority = "normal"
    timeout_s: float | None = None
    n: int = 1  # answers to the prompt
    response_type: ResponseType | None = None  # the type that gave the constraint
    changes: Mapping[str, Any] = field(default_factory=dict)
    n_prompt_logprobs: int | None = None
    logits_processors: tuple[LogitsProcessor, ...] = ()
    speculation: SpeculationMode = "auto"
    prediction: str = ""

    def with_params(self, params: Any, name: str) -> AnswerArguments:
        """Returns the same arguments with other sampling parameters, changed by the keyword arguments. Raises InvalidRequestError,
        naming the argument `name`."""
        if not isinstance(params, SamplingParams):
            raise wrong_value(name, "a SamplingParams", params)
        return replace(self, sampling=with_changes(params, self.changes))

    def request(self, request_id: str, prompt: Prompt, choice: int = 0, group: str = "") -> GenerateRequest:
        """Returns the engine's request for one of the n answers. With a seed, choice i is drawn with seed + i. `group` is a
        name that several answers to one prompt share."""
        return GenerateRequest(
            request_id=request_id,
            prompt=prompt,
            sampling=_for_choice(self.sampling, choice),
            max_tokens=self.max_tokens,
            stop=self.stop,
            stop_token_ids=self.stop_token_ids,
            ignore_eos=self.ignore_eos,
            min_tokens=self.min_tokens,
            constraint=self.constraint,
            n_logprobs=self.n_logprobs,
            priority=self.priority,
            timeout_s=self.timeout_s,
            group=group,
            n_prompt_logprobs=self.n_prompt_logprobs,
            speculation=self.speculation,
            prediction=self.prediction,
        )


def answer_arguments(
    params: SamplingParams | None,
    defaults: SamplingParams,
    options: Mapping[str, Any],
    *,
    max_tokens: Any = None,
    stop: Any = (),
    known: Iterable[str] = _GENERATE,
) -> AnswerArguments:
    """Checks the arguments of an answer.

    Args:
        params: replaces the defaults as a whole; single sampling options change it.
        defaults: sampling parameters for which nothing was given.
        options: the keyword arguments that chat_prompt() or generate_prompt() have left.
        known: names of arguments that a misspelt one may have meant.

    Raises InvalidRequestError, naming the argument.
    """
    if params is not None and not isinstance(params, SamplingParams):
        raise wrong_value("params", "a SamplingParams", params)
    rest = _renamed(options, max_tokens, stop)
    response_type = take_response_type(rest)
    constraint, constraint_name = take_constraint(rest)
    return AnswerArguments(
        max_tokens=_max_tokens(rest.pop("max_tokens", None)),
        stop=texts(rest.pop("stop", ()), "stop"),
        stop_token_ids=token_ids(pop_given(rest, "stop_token_ids", ()), "stop_token_ids"),
        ignore_eos=truth(pop_given(rest, "ignore_eos", False), "ignore_eos"),
        min_tokens=whole_number(pop_given(rest, "min_tokens", 0), "min_tokens"),
        constraint=constraint,
        constraint_name=constraint_name,
        n_logprobs=_n_logprobs(rest.pop("logprobs", None), "logprobs"),
        n_prompt_logprobs=_n_logprobs(rest.pop("prompt_logprobs", None), "prompt_logprobs"),
        logits_processors=_processors(rest.pop("logits_processor", None)),
        priority=_priority(rest.pop("priority", None)),
        timeout_s=_timeout_s(rest.pop("timeout_s", None)),
        speculation=_speculation(rest.pop("speculation", None)),
        prediction=text(rest.pop("prediction", None) or "", "prediction"),
        n=whole_number(pop_given(rest, "n", 1), "n", 1, N_CHOICES_MAX),
        response_type=response_type,
        changes=(changes := _changes(rest, known)),
        sampling=with_changes(params or defaults, changes),
    )


def _renamed(options: Mapping[str, Any], max_tokens: Any, stop: Any) -> dict[str, Any]:
    """Returns all arguments under our names; max_tokens and stop if they were given."""
    own = {
        name: value for name, value in (("max_tokens", max_tokens), ("stop", stop)) if value is not None and value != ()
    }
    return {**with_our_names(options, ANSWER_NAMES, own), **own}


def _max_tokens(value: Any) -> int | None:
    value = _unless_off("max_tokens", value)
    return None if value is None else whole_number(value, "max_tokens", 1)


def _unless_off(name: str, value: Any) -> Any:
    value = plain_value(value)
    off, ours = _OFF.get(name, (None, None))
    return ours if value == off and off is not None and not isinstance(value, bool) else value


def _n_logprobs(value: Any, name: str) -> int | None:
    if value is None or value is False:
        return None
    return 0 if value is True else whole_number(value, name, 0, N_LOGPROBS_MAX)  # True is OpenAI's way in chat


def _processors(value: Any) -> tuple[LogitsProcessor, ...]:
    """Returns one function, or a sequence of them, as a tuple."""
    if value is None or callable(value):
        return () if value is None else (value,)
    if not isinstance(value, Iterable) or not all(map(callable, processors := tuple(value))):
        raise wrong_value(
            "logits_processor", "a function of (token_ids, logits), or a sequence of such functions", value
        )
    return processors


def _priority(value: Any) -> Priority:
    for priority in PRIORITIES:
        if value == priority:
            return priority
    if value is not None:
        raise wrong_value("priority", f"one of {', '.join(PRIORITIES)}", value)
    return "normal"


def _speculation(value: Any) -> SpeculationMode:
    for choice in SPECULATION_MODES:
        if value == choice:
            return choice
    if value is not None:
        raise wrong_value("speculation", f"one of {', '.join(SPECULATION_MODES)}", value)
    return "auto"


def _timeout_s(value: Any) -> float | None:
    return None if value is None else number_above(value, "timeout_s", 0)


def _changes(options: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Returns the fields of SamplingParams among keyword arguments. Raises InvalidRequestError for any other."""
    changes = {name: _unless_off(name, value) for name, value in options.items()}
    for name in changes:
        if name not in SamplingParams.__struct_fields__:
            raise unknown_argument(name, known, "argument")
    changed = sampling_params(**changes)
    return {name: getattr(changed, name) for name in changes}


def _for_choice(params: SamplingParams, choice: int) -> SamplingParams:
    if params.seed is None or not choice:
        return params
    return with_changes(params, {"seed": (params.seed + choice) % (MAX_SEED + 1)})


def chat_arguments(
    params: SamplingParams | None, defaults: SamplingParams, options: Mapping[str, Any], **given: Any
) -> AnswerArguments:
    """Does the same as answer_arguments(), for chat()."""
    return answer_arguments(params, defaults, options, known=_CHAT, **given)


def argument_name(param: str | None, constraint: str) -> str | None:
    """Name of the argument for a field of GenerateRequest at fault. `constraint` is the argument that gave the constraint."""
    name, dot, path = (param or "").partition(".")
    if name in _OTHER_FIELDS:
        return _OTHER_FIELDS[name]
    return f"{constraint}{dot}{path}" if name == "constraint" else param
