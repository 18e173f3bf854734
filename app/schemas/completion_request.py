"""Requests to /v1/completions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from llmcore.messages import TextPrompt, TokensPrompt

from ..http.errors import invalid
from ..http.unknown_fields import RefusedFields
from .generation_fields import MAX_CHOICES, CompletionFields, check_completion_fields
from .text_or_tokens import TokenId, read_texts
from .unsupported_fields import REFUSED_IN_COMPLETIONS

# OpenAI's default of this endpoint.
MAX_TOKENS_DEFAULT = 16

# That the entries of a list are all of one kind is checked by read_texts().
PromptField = (
    str
    | Annotated[
        list[str | TokenId | Annotated[list[TokenId], Meta(min_length=1)]],
        Meta(min_length=1, description="strings, token ids, or lists of token ids; several prompts, several choices"),
    ]
)


class CompletionRequest(CompletionFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the continuation of one or several texts."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_COMPLETIONS

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
        Annotated[
            int,
            Meta(ge=0, le=5, description="tell each token's log-probability, and so many probable tokens"),
        ]
        | None
    ) = None
    suffix: Annotated[str, Meta(description="what follows the answer, for models made to fill in")] | None = None

    @property
    def n_candidates(self) -> int:
        """Number of answers to generate for each prompt; the n best of them are given."""
        return self.best_of or self.n_choices

    def prompts(self) -> list[TextPrompt | TokensPrompt]:
        """Returns the prompts, each for `n_candidates` answers. Raises ApiError (400)."""
        texts = read_texts(self.prompt, "prompt", MAX_CHOICES)
        if len(texts) * self.n_candidates > MAX_CHOICES:
            field = "n" if self.best_of is None else "best_of"
            problem = f"{field} times the number of prompts may be at most {MAX_CHOICES}, got {len(texts)} prompts"
            raise invalid("invalid_value", problem, field)
        return [
            TextPrompt(text, self.suffix or "") if isinstance(text, str) else TokensPrompt(tuple(text))
            for text in texts
        ]


def check_completion(request: CompletionRequest) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_completion_fields(request)
    if request.n_candidates < request.n_choices:
        raise invalid("invalid_value", f"best_of must be at least n ({request.n_choices})", "best_of")
    if request.n_candidates > request.n_choices and request.stream:
        raise invalid("invalid_value", "best_of above n compares complete answers: it cannot be streamed", "best_of")
    if request.echo and request.logprobs is not None:
        raise invalid("unsupported_value", "the prompt has no logprobs here: send echo or logprobs", "logprobs")
    if request.suffix and not isinstance(request.prompt, str) and not isinstance(request.prompt[0], str):
        raise invalid("invalid_value", "a suffix needs a prompt that is text", "suffix")
