"""A vocabulary of bytes and letters: any text in 400 tokens, so that a model's embeddings are small."""

from __future__ import annotations

import string

from tests.architectures.metadata import Value

_UNKNOWN, _CONTROL, _NORMAL, _BYTE = 2, 3, 1, 6


def tokens() -> list[str]:
    letters = ["\u2581", *(each for each in string.printable if not each.isspace())]
    pairs = [f"\u2581{each}" for each in string.ascii_lowercase]
    return ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *pairs]


def n_vocab() -> int:
    return len(tokens())


def vocabulary_metadata() -> dict[str, Value]:
    """Returns a SentencePiece vocabulary like llama's."""
    names = tokens()
    normal = [float(-i) for i in range(len(names) - 259)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": names,
        "tokenizer.ggml.scores": [0.0] * 259 + normal,
        "tokenizer.ggml.token_type": [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256 + [_NORMAL] * len(normal),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        # For encoders.
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.mask_token_id": 0,
    }
