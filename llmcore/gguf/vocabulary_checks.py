"""Checks of a vocabulary before llama.cpp asserts them (llama-vocab.cpp), and repairs where one is possible.

| assertion, or exception | a file reaches it by | here |
|---|---|---|
| `id_to_token.size() == token_to_id.size()` | two tokens of the same text | refused, both named |
| `type != LLAMA_VOCAB_TYPE_NONE`, in each function | `tokenizer.ggml.model` none or no_vocab | refused (model_kinds.py) |
| `special_bos_id != NULL`, `token_bos() != NULL` | `add_bos_token`, and no BOS that is in the vocabulary | no BOS is added |
| the same of EOS | `add_eos_token` likewise | no EOS is added |
| the same of BOS and SEP in WordPiece, where no flag counts | no `[CLS]`, `[SEP]` | found by their text, or refused |
| `GGML_ABORT` in `token_to_byte` | tokens for bytes in WordPiece | refused |
| division by the number of tokens (tokenizer "test") | no tokens | refused (model_kinds.py) |
| `.at()` in `byte_to_token`, `token_get_attr` | no token for a byte | native: an error |
| bounds of the precompiled charsmap | one that was cut | native: an error |
| "model vocab missing newline token" | RWKV vocabularies | native: an error |
| unknown tokenizer or pre-tokenizer, no merges, arrays of wrong types or lengths | those keys | native: an error |

"Native" is native/shim/model.cpp and tokenizer.cpp: a failed assertion or exception while a vocabulary is loaded or used becomes
an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.errors import ModelFormatError
from llmcore.gguf.header import GgufArray, GgufHeader
from llmcore.gguf.model_kinds import TOKENS

_CONTROL_TOKEN, _BYTE_TOKEN = 3, 6  # LLAMA_TOKEN_TYPE_
_WORDPIECE = "bert"

Override = bool | int


@dataclass(frozen=True)
class _Specials:
    """Token ids that llama.cpp uses if the file names none."""

    bos: int | None = None
    eos: int | None = None
    sep: int | None = None


# llama.cpp's default in byte-level vocabularies. It is right for Falcon's; in others it is a comma or another word.
_OF_FALCON = 11

# By tokenizer.ggml.model, as in llama_vocab::impl::load.
_DEFAULTS = {
    "llama": _Specials(1, 2),
    "bert": _Specials(101, None, 102),
    **dict.fromkeys(("gpt2", "hybriddna", "whitespace"), _Specials(_OF_FALCON, _OF_FALCON)),
    "t5": _Specials(None, 1),
    "plamo2": _Specials(1, 2),
}
# Pre-tokenizers (tokenizer.ggml.pre) that undo the default of BOS.
PRE_WITHOUT_BOS = ("chatglm-bpe", "glm4", "glm5")
# The pre-tokenizer for which llama.cpp adds BOS whatever the file says, and the text of that token.
_PRE_ALWAYS_BOS, _BOS_OF_GEMMA4 = "gemma4", b"<bos>"
_TEXTS = {"bos": (b"[CLS]", b"<s>"), "sep": (b"[SEP]", b"</s>")}


def check_vocabulary(header: GgufHeader) -> None:
    """Raises ModelFormatError for tokens that llama.cpp cannot load."""
    tokens = header.metadata.get(TOKENS)
    if not isinstance(tokens, GgufArray) or tokens.item_type != "str":
        return  # llama.cpp says so itself
    seen: dict[bytes, int] = {}
    for index, text in enumerate(tokens.strings()):
        # llama.cpp ends a text at a zero byte, and gives a token without text a name.
        text = text.partition(b"\0")[0] or b"[EMPTY_%d]" % index
        first = seen.setdefault(text, index)
        if first != index:
            shown = text[:40].decode("utf-8", "backslashreplace")
            raise _refused(
                header,
                f"has a vocabulary in which tokens {first} and {index} have the same text, {shown!r}, which llama.cpp "
                "cannot load. Get another conversion of the model, or rename one of the two in the tokenizer and "
                "convert it again",
            )
    types = header.metadata.get("tokenizer.ggml.token_type")
    is_wordpiece = header.metadata.get("tokenizer.ggml.model") == _WORDPIECE
    if is_wordpiece and isinstance(types, GgufArray) and _BYTE_TOKEN in types.values():
        raise _refused(
            header,
            "has a WordPiece vocabulary with tokens for bytes, which llama.cpp cannot load: get another conversion of the model",
        )


def vocabulary_overrides(header: GgufHeader) -> dict[str, Override]:
    """Returns the metadata values that must replace the file's, so that its vocabulary can be used.

    Raises ModelFormatError for a vocabulary that cannot be repaired.
    """
    tokens = header.metadata.get(TOKENS)
    if not isinstance(tokens, GgufArray) or tokens.item_type != "str":
        return {}
    model, pre = (header.metadata.get(f"tokenizer.ggml.{each}") for each in ("model", "pre"))
    defaults = _DEFAULTS.get(str(model), _Specials())
    if pre in PRE_WITHOUT_BOS:
        defaults = _Specials(None, defaults.eos, defaults.sep)
    if defaults.eos == _OF_FALCON and not _is_control(header, _OF_FALCON):
        defaults = _Specials()
    has = {name: _special(header, name, getattr(defaults, name), tokens.length) for name in ("bos", "eos", "sep")}
    if model == _WORDPIECE:
        # llama.cpp ignores the add_* flags here, and its default ids are BERT's own.
        named = {name: _special(header, name, None, tokens.length) for name in ("bos", "sep")}
        wanted: dict[str, tuple[bytes, ...]] = {name: _TEXTS[name] for name, id in named.items() if id is None}
    elif has["bos"] is None and _PRE_ALWAYS_BOS in (model, pre):
        wanted = {"bos": (_BOS_OF_GEMMA4,)}
    else:
        return {f"tokenizer.ggml.add_{name}_token": False for name in ("bos", "eos") if has[name] is None}
    found = {name: _find(tokens, texts) for name, texts in wanted.items()}
    for name, id in found.items():
        default = has[name]
        if id is None and (default is None or not _is_control(header, default)):
            raise _refused(
                header,
                f"has a vocabulary that needs a token to begin or end texts with ({_KEYS[name]}), and none: get another "
                "conversion of the model",
            )
    return {_KEYS[name]: id for name, id in found.items() if id not in (None, has[name])}


_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # as llama.cpp and all files spell it
}


def _special(header: GgufHeader, name: str, default: int | None, n_tokens: int) -> int | None:
    """Returns the id that llama.cpp uses for a special token; None if there is none."""
    value = header.metadata.get(_KEYS[name])
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < n_tokens:
        return value
    return default if default is not None and default < n_tokens else None


def _is_control(header: GgufHeader, token: int) -> bool:
    types = header.metadata.get("tokenizer.ggml.token_type")
    return isinstance(types, GgufArray) and types.values()[token : token + 1] == [_CONTROL_TOKEN]


def _find(tokens: GgufArray, texts: tuple[bytes, ...]) -> int | None:
    known = tokens.strings()
    return next((known.index(text) for text in texts if text in known), None)


def _refused(header: GgufHeader, what: str) -> ModelFormatError:
    return ModelFormatError(f"{header.path} {what}", param="model_path")
