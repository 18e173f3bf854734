"""Limits that the operator sets for one request. A request above a limit is refused by its field; nothing is truncated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmcore.messages import Prompt

from ..config import ServerConfig
from ..http.errors import ApiError, invalid
from .token_estimate import count_prompt_characters


class RequestLimits:
    """Checks a request against ServerConfig's limits. Every method raises ApiError (400). A limit of 0 is none."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def check_count(self, n: int, field: str) -> None:
        """Checks the number of messages, or of items of a response's input."""
        self._check(n, self._config.max_messages, field, "entries")

    def check_prompts(self, prompts: Iterable[Prompt], field: str) -> None:
        """Checks the total length of a request's prompts, in characters."""
        if self._config.max_prompt_chars:
            self._check(sum(map(count_prompt_characters, prompts)), self._config.max_prompt_chars, field, "characters")

    def check_texts(self, texts: Iterable[str | Sequence[int]], field: str) -> None:
        """Checks the total length of the texts to embed or rerank, in characters. Token ids count as none."""
        if self._config.max_prompt_chars:
            n = sum(len(text) for text in texts if isinstance(text, str))
            self._check(n, self._config.max_prompt_chars, field, "characters")

    def resolve_max_tokens(self, asked: int | None, field: str, default: int | None = None) -> int | None:
        """Returns the most tokens that an answer may have; None is up to the end of the context.

        Takes the first that is given: the request's value, the endpoint's own `default`, the operator's default, the operator's
        limit. A default above the limit is lowered to it. A negative number asks for an answer up to the end of the
        context: only the operator's limit holds.
        """
        limit = self._config.max_answer_tokens or None
        if asked is not None and asked < 0:
            return limit
        if asked is not None:
            self._check(asked, limit or 0, field, "tokens")
            return asked
        found = default or self._config.max_tokens_default or limit
        return min(found, limit) if found and limit else found

    def resolve_timeout_s(self, asked: float | None) -> float | None:
        """Returns the request's timeout, or else the longest that is allowed; None is no timeout."""
        self._check(asked or 0, self._config.max_request_s, "timeout", "seconds")
        return asked or self._config.max_request_s or None

    def _check(self, n: float, limit: float, field: str, unit: str) -> None:
        if 0 < limit < n:
            raise _too_much(n, limit, field, unit)


def _too_much(n: float, limit: float, field: str, unit: str) -> ApiError:
    return invalid("invalid_value", f"{field}: this service allows at most {limit:.10g} {unit}, got {n:.10g}", field)
