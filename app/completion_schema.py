"""Requests to /v1/completions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmcore.messages import TextPrompt, TokensPrompt

from .errors import invalid
from .fields import MAX_CHOICES, GenerationFields, OnlyFalse, OnlyNull, TokenId, check_common

# OpenAI's default of this endpoint.
MAX_TOKENS_DEFAULT = 16

# A string, strings, token ids, or lists of token ids; that a list is of one kind only is checked by prompts().
PromptField = (
    str
    | Annotated[
        list[str | TokenId | Annotated[list[TokenId], Meta(min_length=1)]],
        Meta(min_length=1, description="strings, token ids, or lists of token ids; several prompts, several choices"),
    ]
)


class CompletionRequest(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the continuation of one or several texts."""

    prompt: PromptField

    best_of: (
        Annotated[int, Meta(ge=1, le=MAX_CHOICES, description="accepted if it is n: no answer is thrown away")] | None
    ) = None
    echo: OnlyFalse = None
    logprobs: (
        Annotated[int, Meta(ge=0, le=5, description="tell each token's log-probability, and so many probable tokens")]
        | None
    ) = None
    suffix: OnlyNull = None

    def prompts(self) -> list[TextPrompt | TokensPrompt]:
        """One for each choice. Raises ApiError (400)."""
        if isinstance(self.prompt, str):
            return [TextPrompt(self.prompt)]
        if isinstance(self.prompt[0], int):
            return [TokensPrompt(_tokens(self.prompt))]
        if len(self.prompt) > MAX_CHOICES:
            problem = f"prompt may have at most {MAX_CHOICES} entries, got {len(self.prompt)}"
            raise invalid("invalid_value", problem, "prompt")
        if len(self.prompt) * self.n_choices > MAX_CHOICES:
            problem = f"n times the number of prompts may be at most {MAX_CHOICES}, got {len(self.prompt)} prompts"
            raise invalid("invalid_value", problem, "n")
        found: list[TextPrompt | TokensPrompt] = []
        for index, each in enumerate(self.prompt):
            if type(each) is not type(self.prompt[0]):
                raise _mixed(index)
            found.append(TextPrompt(each) if isinstance(each, str) else TokensPrompt(_tokens(each)))
        return found


def check_completion(request: CompletionRequest) -> None:
    """What the types cannot say. Raises ApiError (400)."""
    check_common(request)
    if request.best_of is not None and request.best_of != request.n_choices:
        message = "best_of is not supported yet: leave it out, or send the same as n"
        raise invalid("unsupported_parameter", message, "best_of")


def _tokens(values: object) -> tuple[int, ...]:
    assert isinstance(values, list), "the schema accepts lists of token ids"
    for index, each in enumerate(values):
        if not isinstance(each, int):
            raise _mixed(index)
    return tuple(values)


def _mixed(index: int) -> Exception:
    return invalid(
        "invalid_type", f"Invalid prompt[{index}]: a prompt's entries are all of one kind", f"prompt[{index}]"
    )
