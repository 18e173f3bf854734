"""Requests to /v1/completions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmcore.messages import TextPrompt, TokensPrompt

from ..http.errors import invalid
from .fields import MAX_CHOICES, GenerationFields, TokenId, check_common

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
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_CHOICES,
                description="answers to generate, of which the n most probable are given (per token)",
            ),
        ]
        | None
    ) = None
    echo: Annotated[bool, Meta(description="begin the text with the prompt")] | None = None
    logprobs: (
        Annotated[int, Meta(ge=0, le=5, description="tell each token's log-probability, and so many probable tokens")]
        | None
    ) = None
    suffix: Annotated[str, Meta(description="what follows the answer, for models made to fill in")] | None = None

    @property
    def n_candidates(self) -> int:
        """For each prompt."""
        return self.best_of or self.n_choices

    def prompts(self) -> list[TextPrompt | TokensPrompt]:
        """One for each choice. Raises ApiError (400)."""
        if isinstance(self.prompt, str):
            return [TextPrompt(self.prompt, self.suffix or "")]
        if isinstance(self.prompt[0], int):
            return [TokensPrompt(_tokens(self.prompt))]
        if len(self.prompt) > MAX_CHOICES:
            problem = f"prompt may have at most {MAX_CHOICES} entries, got {len(self.prompt)}"
            raise invalid("invalid_value", problem, "prompt")
        if len(self.prompt) * self.n_candidates > MAX_CHOICES:
            field = "n" if self.best_of is None else "best_of"
            problem = (
                f"{field} times the number of prompts may be at most {MAX_CHOICES}, got {len(self.prompt)} prompts"
            )
            raise invalid("invalid_value", problem, field)
        found: list[TextPrompt | TokensPrompt] = []
        for index, each in enumerate(self.prompt):
            if type(each) is not type(self.prompt[0]):
                raise _mixed(index)
            text = TextPrompt(each, self.suffix or "") if isinstance(each, str) else None
            found.append(text or TokensPrompt(_tokens(each)))
        return found


def check_completion(request: CompletionRequest) -> None:
    """What the types cannot say. Raises ApiError (400)."""
    check_common(request)
    if request.n_candidates < request.n_choices:
        raise invalid("invalid_value", f"best_of must be at least n ({request.n_choices})", "best_of")
    if request.n_candidates > request.n_choices and request.stream:
        raise invalid("invalid_value", "best_of above n needs whole answers: it cannot be streamed", "best_of")
    if request.echo and request.logprobs is not None:
        raise invalid("unsupported_value", "the prompt has no logprobs here: send echo or logprobs", "logprobs")
    if request.suffix and not isinstance(request.prompt, str) and not isinstance(request.prompt[0], str):
        raise invalid("invalid_value", "a suffix needs a prompt that is text", "suffix")


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
