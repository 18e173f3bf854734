"""How a request's prompt begins, as a chain of fingerprints: equal links mean equal beginnings.

    message 1: aaaaaaaa|aaaa    message 2: bbbb       links: a₁  a₁a₂  a₁a₂b      (a link every BLOCK_BYTES, and at a message's end)

A link is a digest of everything before it, so two prompts have as many links in common as they begin alike. Nothing here knows
tokens or templates: it is a guess of what a replica has in its cache, made without a tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

# About 64 tokens of English: what two prompts share is known to that.
BLOCK_BYTES = 256
_DIGEST_BYTES = 8

_CHAT, _TEXT, _RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"


@dataclass(frozen=True)
class PromptFingerprint:
    """`links`: (digest, bytes of the prompt up to there), in order. `key` stays the same through a conversation."""

    links: tuple[tuple[int, int], ...] = ()
    key: int = 0

    @property
    def n_bytes(self) -> int:
        return self.links[-1][1] if self.links else 0


def fingerprint_prompt(path: str, body: bytes) -> PromptFingerprint:
    """Of a request to `path`. Without links where the path takes no prompt, or where the body is not what it should be: such a
    request may go anywhere."""
    if path not in (_CHAT, _TEXT, _RESPONSES):
        return PromptFingerprint()
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return PromptFingerprint()
    return _chain(list(_parts(path, fields))) if isinstance(fields, dict) else PromptFingerprint()


def _parts(path: str, fields: dict[str, Any]) -> Iterator[tuple[bytes, bool]]:
    """(what stands there, whether a user says it), in the order in which templates write it."""
    if path == _TEXT:
        prompt = fields.get("prompt")
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)):
            prompt = prompt[0]  # of several prompts the first
        if prompt:
            yield _bytes(prompt), True
        return
    for name in ("tools", "instructions"):
        if fields.get(name):
            yield _bytes(fields[name]), False
    messages = fields.get("messages" if path == _CHAT else "input")
    for message in messages if isinstance(messages, list) else [messages] if messages else []:
        yield _bytes(message), not isinstance(message, dict) or message.get("role") == "user"


def _bytes(value: object) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else msgspec.json.encode(value)


def _chain(parts: list[tuple[bytes, bool]]) -> PromptFingerprint:
    links: list[tuple[int, int]] = []
    digest, n_bytes, key = b"", 0, 0
    for part, is_user in parts:
        for start in range(0, len(part), BLOCK_BYTES):
            block = part[start : start + BLOCK_BYTES]
            digest = hashlib.blake2b(digest + block, digest_size=_DIGEST_BYTES).digest()
            n_bytes += len(block)
            links.append((int.from_bytes(digest, "big"), n_bytes))
        if is_user and not key and links:
            key = links[-1][0]
    return PromptFingerprint(tuple(links), key or (links[-1][0] if links else 0))
