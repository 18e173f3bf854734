"""Fingerprints of the prefixes of a request's prompt: equal digests mean equal prefixes.

    message 1: aaaaaaaa|aaaa    message 2: bbbb      digests of: aaaaaaaa   aaaaaaaa|aaaa   aaaaaaaa|aaaa|bbbb

There is a digest every BLOCK_BYTES and at the end of each message, over everything before it, so two prompts have as many
digests in common as their common prefix has blocks. The blocks are bytes of the request, without tokenizer or chat template:
enough to guess what a replica has cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

# About 64 tokens of English.
BLOCK_BYTES = 256
_DIGEST_BYTES = 8

# Paths with a text, and those with messages, by the field that has them.
_TEXTS = ("/v1/completions", "/api/generate")
_MESSAGES = {
    "/v1/chat/completions": "messages",
    "/v1/responses": "input",
    "/v1/messages": "messages",
    "/api/chat": "messages",
}


@dataclass(frozen=True)
class PromptFingerprint:
    """Digests of a prompt's prefixes as (digest, length of the prefix in bytes), in order of length.

    `conversation_key` is the digest of the prefix up to the first user message; it stays the same through a conversation.
    """

    prefixes: tuple[tuple[int, int], ...] = ()
    conversation_key: int = 0

    @property
    def n_bytes(self) -> int:
        """Length of the prompt in bytes."""
        return self.prefixes[-1][1] if self.prefixes else 0


def fingerprint_prompt(path: str, body: bytes) -> PromptFingerprint:
    """Returns the fingerprint of a request to `path`. It is empty if the path takes no prompt or the body is invalid; such a
    request may go to any replica."""
    if path not in _TEXTS and path not in _MESSAGES:
        return PromptFingerprint()
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return PromptFingerprint()
    return _fingerprint(list(_prompt_parts(path, fields))) if isinstance(fields, dict) else PromptFingerprint()


def _prompt_parts(path: str, fields: dict[str, Any]) -> Iterator[tuple[bytes, bool]]:
    """Yields (content, True if it is a user's) of each part of the prompt, in the order in which chat templates write them."""
    if path in _TEXTS:
        if fields.get("system"):
            yield _encode(fields["system"]), False
        prompt = fields.get("prompt")
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)):
            prompt = prompt[0]  # the first of several prompts
        if prompt:
            yield _encode(prompt), True
        return
    for name in ("tools", "instructions", "system"):
        if fields.get(name):
            yield _encode(fields[name]), False
    messages = fields.get(_MESSAGES[path])
    for message in messages if isinstance(messages, list) else [messages] if messages else []:
        yield _encode(message), not isinstance(message, dict) or message.get("role") == "user"


def _encode(value: object) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else msgspec.json.encode(value)


def _fingerprint(parts: list[tuple[bytes, bool]]) -> PromptFingerprint:
    prefixes: list[tuple[int, int]] = []
    digest, n_bytes, key = b"", 0, 0
    for content, is_user in parts:
        for start in range(0, len(content), BLOCK_BYTES):
            block = content[start : start + BLOCK_BYTES]
            digest = hashlib.blake2b(digest + block, digest_size=_DIGEST_BYTES).digest()
            n_bytes += len(block)
            prefixes.append((int.from_bytes(digest, "big"), n_bytes))
        if is_user and not key and prefixes:
            key = prefixes[-1][0]
    return PromptFingerprint(tuple(prefixes), key or (prefixes[-1][0] if prefixes else 0))
