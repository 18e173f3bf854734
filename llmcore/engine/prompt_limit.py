"""How long a prompt may be: the context's length, and the operator's limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.errors import ContextLengthError


@dataclass(frozen=True)
class PromptBound:
    """`n_ctx` and `n_prompt` in tokens; 0 of the latter is no limit."""

    n_ctx: int
    n_prompt: int = 0

    def check(self, n_tokens: int, param: str, *, n_pinned: int = 0, is_least: bool = False) -> int:
        """Tokens that are left for an answer. `n_pinned` cells hold pinned prefixes; `is_least`: there may be more tokens than
        that. Raises ContextLengthError if nothing is left, or the limit is passed."""
        least = "at least " if is_least else ""
        if 0 < self.n_prompt < n_tokens:
            message = f"the prompt has {least}{n_tokens} tokens, and at most {self.n_prompt} are allowed here"
            raise ContextLengthError(message, n_prompt=n_tokens, n_ctx=self.n_ctx, param=param)
        room = self.n_ctx - n_pinned - n_tokens
        if room < 1:
            pinned = f" (of which {n_pinned} hold pinned prefixes)" if n_pinned else ""
            message = (
                f"the prompt has {least}{n_tokens} tokens; the context has {self.n_ctx}{pinned}, of which the answer needs "
                "at least one"
            )
            raise ContextLengthError(message, n_prompt=n_tokens, n_ctx=self.n_ctx, param=param)
        return room
