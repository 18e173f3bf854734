"""Limits of one request that the operator sets. Each refusal names its field; nothing is cut to fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmcore.messages import Prompt

from ..config import ServerConfig
from ..http.errors import ApiError, invalid
from ..service.token_estimate import count_prompt_characters


class RequestLimits:
    """All raise ApiError (400). A limit of 0 is none."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def check_count(self, n: int, field: str) -> None:
        """Of messages, or of items of a conversation."""
        self._check(n, self._config.max_messages, field, "entries")

    def check_prompts(self, prompts: Iterable[Prompt], field: str) -> None:
        """Of all prompts of a request together."""
        if self._config.max_prompt_chars:
            self._check(sum(map(count_prompt_characters, prompts)), self._config.max_prompt_chars, field, "characters")

    def check_texts(self, texts: Iterable[str | Sequence[int]], field: str) -> None:
        """Of all texts for vectors or scores together; token ids have no characters."""
        if self._config.max_prompt_chars:
            n = sum(len(text) for text in texts if isinstance(text, str))
            self._check(n, self._config.max_prompt_chars, field, "characters")

    def resolve_max_tokens(self, asked: int | None, field: str, default: int | None = None) -> int | None:
        """How long an answer may be: what the request says, or else `default` (the operator's, where an endpoint has none of its
        own), as far as that is allowed. None is up to the end of the context."""
        limit = self._config.max_answer_tokens or None
        if asked is not None:
            self._check(asked, limit or 0, field, "tokens")
            return asked
        found = default or self._config.max_tokens_default or limit
        return min(found, limit) if found and limit else found

    def resolve_timeout_s(self, asked: float | None) -> float | None:
        self._check(asked or 0, self._config.max_request_s, "timeout", "seconds")
        return asked or self._config.max_request_s or None

    def _check(self, n: float, limit: float, field: str, unit: str) -> None:
        if 0 < limit < n:
            raise _too_much(n, limit, field, unit)


def _too_much(n: float, limit: float, field: str, unit: str) -> ApiError:
    return invalid("invalid_value", f"{field}: this service allows at most {limit:.10g} {unit}, got {n:.10g}", field)
