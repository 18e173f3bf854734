"""Estimates of a request's tokens before they are counted. Rate limits settle the difference afterwards, so a rough estimate is
enough."""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.messages import ChatPrompt, GenerateRequest, Prompt, TextPrompt

# English text in most vocabularies.
_CHARACTERS_PER_TOKEN = 4


def estimate_tokens(text: str | Sequence[int]) -> int:
    """Estimates the tokens of a text. Returns the exact number for token ids."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN) if isinstance(text, str) else len(text)


def estimate_request_tokens(requests: Sequence[GenerateRequest], n_per_prompt: int) -> int:
    """Estimates the tokens of an HTTP request that has `n_per_prompt` consecutive engine requests for each of its prompts: each
    prompt once, plus the answers' maximal lengths."""
    prompts = sum(estimate_prompt_tokens(each.prompt) for each in requests[::n_per_prompt])
    return prompts + sum_max_tokens(requests)


def sum_max_tokens(requests: Sequence[GenerateRequest]) -> int:
    """Returns the sum of the answers' maximal lengths; answers without one count as 0."""
    return sum(each.max_tokens or 0 for each in requests)


def estimate_prompt_tokens(prompt: Prompt) -> int:
    """Estimates the tokens of a prompt."""
    if isinstance(prompt, ChatPrompt):  # counts bytes: decoding the JSON would copy it for an estimate
        n_bytes = len(prompt.messages) + len(prompt.tools) + len(prompt.template_args)
        return -(-n_bytes // _CHARACTERS_PER_TOKEN)
    return estimate_tokens(prompt.text + prompt.suffix) if isinstance(prompt, TextPrompt) else len(prompt.tokens)


def count_prompt_characters(prompt: Prompt) -> int:
    """Returns the number of characters of a text prompt, or of a chat's messages and tools as JSON. Token ids have none."""
    if isinstance(prompt, ChatPrompt):
        return len(prompt.messages.decode()) + len(prompt.tools.decode())
    return len(prompt.text) + len(prompt.suffix) if isinstance(prompt, TextPrompt) else 0
