"""Bounds on the length of a prompt: the context, and the operator's limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.errors import ContextLengthError


@dataclass(frozen=True)
class PromptBound:
    """`n_ctx` and `n_prompt` count tokens; n_prompt = 0 means no limit."""

    n_ctx: int
    n_prompt: int = 0

    def check(self, n_tokens: int, param: str, *, n_pinned: int = 0, is_least: bool = False) -> int:
        """Returns the number of tokens that are left for an answer. Raises ContextLengthError if that is 0 or the limit is passed.

        Args:
            n_pinned: cells of pinned prefixes that the prompt cannot share.
            is_least: n_tokens is a lower bound, and the message says so.
        """
        least, text = "at least " if is_least else "", "prediction" if param == "prediction" else "prompt"
        if 0 < self.n_prompt < n_tokens:
            message = f"the {text} has {least}{n_tokens} tokens, and at most {self.n_prompt} are allowed here"
            raise ContextLengthError(message, n_prompt=n_tokens, n_ctx=self.n_ctx, param=param)
        room = self.n_ctx - n_pinned - n_tokens
        if room < 1:
            pinned = f" (of which {n_pinned} hold pinned prefixes)" if n_pinned else ""
            message = (
                f"the {text} has {least}{n_tokens} tokens; the context has {self.n_ctx}{pinned}, of which the answer needs "
                "at least one"
            )
            raise ContextLengthError(message, n_prompt=n_tokens, n_ctx=self.n_ctx, param=param)
        return room
