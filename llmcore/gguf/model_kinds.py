"""Valid GGUF files that are not models that can be served, recognized by their metadata."""

from __future__ import annotations

from llmcore.errors import ModelKindError
from llmcore.gguf.header import GgufArray, GgufHeader

_NAME_THE_MODEL = "name the model that it belongs to"

# By general.type, or by the architecture if files of this kind have one of their own.
_KINDS = {
    "adapter": (
        "an adapter (LoRA) for a model, not a model: merge it into its base model (llama-export-lora of llama.cpp), and "
        "serve the result"
    ),
    "mmproj": (
        "a projector for images or sound (mmproj), not a language model: name the language model that it belongs to, which "
        "is served without images and sound"
    ),
    "imatrix": (
        "an importance matrix, which helps to quantize a model, not a model: name the model, or quantize with it "
        "(llama-quantize --imatrix of llama.cpp)"
    ),
    "controlvector": f"a control vector for a model, not a model: {_NAME_THE_MODEL}",
}
_KINDS["clip"] = _KINDS["mmproj"]

# Architectures of drafters that read the hidden states of another model's layers, and compute nothing without them.
DRAFT_HEADS = frozenset({"eagle3", "dflash", "gemma4-assistant"})
_DRAFT = "a draft model, which guesses for another model and gives no answers of its own: name that other model"
_ENCODER_DECODER = (
    "an encoder-decoder model, which is not supported: use a model of decoders only, or for embeddings the encoder alone "
    "(architecture t5encoder)"
)
_OF_IMAGES = "a model of images or video, not a language model: stable-diffusion.cpp and ComfyUI read such files"
_OF_SPEECH = "a model of speech, not a language model: the programs that it was made for read such files"

# Architectures that llama.cpp may know, and that produce neither text nor embeddings alone.
_NOT_SERVED = {
    "t5": _ENCODER_DECODER,
    **dict.fromkeys(DRAFT_HEADS, _DRAFT),
    "wavtokenizer-dec": _OF_SPEECH,
    **dict.fromkeys(("whisper", "encodec", "bark", "parler-tts", "kokoro", "dac", "orpheus-snac"), _OF_SPEECH),
    **dict.fromkeys(
        (
            "flux",
            "sd1",
            "sd2",
            "sd3",
            "sdxl",
            "aura",
            "ltxv",
            "hyvid",
            "wan",
            "cosmos",
            "hidream",
            "lumina2",
            "qwen_image",
        ),
        _OF_IMAGES,
    ),
}

TOKENS = "tokenizer.ggml.tokens"
_NO_VOCABULARY = ("none", "no_vocab")


def check_kind(header: GgufHeader, *, vocab_only: bool = False) -> None:
    """Raises ModelKindError for a file that cannot be served, with a description and advice."""
    what = _kind(header)
    if what is None and not vocab_only:
        what = _NOT_SERVED.get(header.architecture)
    if what is not None:
        raise _error(header, f"is {what}")
    if not header.architecture:
        raise _error(header, "names no architecture (general.architecture): it is not a language model")


def check_contents(header: GgufHeader, *, vocab_only: bool = False) -> None:
    """Raises ModelKindError for a model that lacks its vocabulary or its weights."""
    if _has_no_vocabulary(header):
        raise _error(
            header,
            "has no vocabulary: no text can be read or written with it. Get a conversion that has its tokenizer",
        )
    if not vocab_only and not header.tensors and not any(part.tensors for part in header.parts):
        raise _error(header, "holds a vocabulary and no weights: name the model itself")


def _error(header: GgufHeader, what: str) -> ModelKindError:
    return ModelKindError(f"{header.path} {what}", param="model_path")


def _kind(header: GgufHeader) -> str | None:
    kind = str(header.metadata.get("general.type", ""))
    if "adapter.type" in header.metadata:
        kind = "adapter"
    return _KINDS.get(kind) or _KINDS.get(header.architecture)


def _has_no_vocabulary(header: GgufHeader) -> bool:
    if header.metadata.get("tokenizer.ggml.model", "none") in _NO_VOCABULARY:
        return True
    tokens = header.metadata.get(TOKENS)
    return tokens is None or (isinstance(tokens, GgufArray) and tokens.length == 0)
