"""How many tokens a request may come to, before anybody has counted them. Settled afterwards, so it need not be right."""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.messages import ChatPrompt, GenerateRequest, Prompt, TextPrompt

# Of English text in most vocabularies.
_CHARACTERS_PER_TOKEN = 4


def estimate_tokens(text: str | Sequence[int]) -> int:
    """Of a text, or of token ids, which are counted already."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN) if isinstance(text, str) else len(text)


def estimate_request_tokens(requests: Sequence[GenerateRequest], n_per_prompt: int) -> int:
    """Of all answers of one request: each prompt once, and the longest answers where the request says how long."""
    prompts = sum(estimate_prompt_tokens(each.prompt) for each in requests[::n_per_prompt])
    return prompts + sum_max_tokens(requests)


def sum_max_tokens(requests: Sequence[GenerateRequest]) -> int:
    """The most that the answers may have, where requests say how long."""
    return sum(each.max_tokens or 0 for each in requests)


def count_prompt_characters(prompt: Prompt) -> int:
    """Of text as it stands, and of messages and tools as JSON; token ids have none."""
    if isinstance(prompt, ChatPrompt):
        return len(prompt.messages.decode()) + len(prompt.tools.decode())
    return len(prompt.text) + len(prompt.suffix) if isinstance(prompt, TextPrompt) else 0


def estimate_prompt_tokens(prompt: Prompt) -> int:
    if isinstance(prompt, ChatPrompt):  # bytes, not decoded: an estimate is not worth a copy
        n_bytes = len(prompt.messages) + len(prompt.tools) + len(prompt.template_args)
        return -(-n_bytes // _CHARACTERS_PER_TOKEN)
    return estimate_tokens(prompt.text + prompt.suffix) if isinstance(prompt, TextPrompt) else len(prompt.tokens)
