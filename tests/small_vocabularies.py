"""Vocabularies of a few hundred tokens, one for each of llama.cpp's tokenizers, as GGUF files without weights."""

from __future__ import annotations

from pathlib import Path

from gguf import GGUFWriter

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?"


def _byte_characters() -> list[str]:
    """The characters that byte-level vocabularies write the 256 bytes as."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _bytes() -> list[tuple[str, int]]:
    return [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]


def _letters(prefix: str = "") -> list[tuple[str, int]]:
    return [(prefix + letter, NORMAL) for letter in _LETTERS]


_BPE = [(each, NORMAL) for each in _byte_characters()] + [("<bos>", CONTROL), ("<eos>", CONTROL), ("he", NORMAL)]
_SPM = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), *_bytes(), ("▁", NORMAL), *_letters()]
_WPM = [(f"[{each}]", CONTROL) for each in ("PAD", "UNK", "CLS", "SEP", "MASK")] + _letters("▁") + _letters()

# By tokenizer.ggml.model: tokens, and keys besides.
TOKENIZERS: dict[str, tuple[list[tuple[str, int]], dict[str, object]]] = {
    "llama": (_SPM, {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, "add_bos_token": True}),
    "gpt2": (
        _BPE,
        {"pre": "gpt-2", "merges": ["h e"], "bos_token_id": 256, "eos_token_id": 257, "add_bos_token": True},
    ),
    "gemma4": ([*_BPE, ("▁", NORMAL)], {"merges": ["h e"], "bos_token_id": 256, "eos_token_id": 257}),
    "bert": (
        _WPM,
        {
            **{"cls_token_id": 2, "bos_token_id": 2, "seperator_token_id": 3, "padding_token_id": 0},
            **{"unknown_token_id": 1, "mask_token_id": 4, "token_type_count": 2},
        },
    ),
    "t5": (
        [("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN), ("▁", NORMAL), *_letters()],
        {"eos_token_id": 1, "unknown_token_id": 2, "padding_token_id": 0, "add_eos_token": True, "charsmap": True},
    ),
    "rwkv": ([("<s>", CONTROL), *((f"\\x{byte:02x}", NORMAL) for byte in range(256))], {"eos_token_id": 0}),
    "plamo2": (
        [
            ("<|plamo:unk|>", UNKNOWN),
            *((f"<|plamo:{each}|>", CONTROL) for each in ("bos", "eos", "pad")),
            *_bytes(),
            *_letters(),
        ],
        {},
    ),
}


def write_small_vocabulary(path: Path, tokenizer: str) -> Path:
    """A file with nothing but a vocabulary; `tokenizer` is one of TOKENIZERS."""
    tokens, keys = TOKENIZERS[tokenizer]
    return _write(path, tokenizer, tokens, keys)


def write_tag_vocabulary(path: Path, tags: list[str], *, kind: int = CONTROL, tokenizer: str = "gpt2") -> Path:
    """A vocabulary with further special tokens, which follow the others."""
    tokens, keys = TOKENIZERS[tokenizer]
    return _write(path, tokenizer, [*tokens, *((tag, kind) for tag in tags)], keys)


def _write(path: Path, tokenizer: str, tokens: list[tuple[str, int]], keys: dict[str, object]) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model(tokenizer)
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    for name, value in keys.items():
        key = f"tokenizer.ggml.{name}"
        if name == "charsmap":
            # An empty trie of one word, and no replacements: every character stays as it is.
            writer.add_precompiled_charsmap((1024).to_bytes(4, "little") + bytes(1024) + b"\0")
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            assert isinstance(value, list)
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path
