"""All exceptions that llmcore raises on purpose.

An exception carries data, not formatting: `message` for people, `code` for programs (stable, snake_case), `param` for the
argument or field at fault. The HTTP layer maps the classes to status codes in one place (app/http/errors.py).
"""

from __future__ import annotations

import re
from typing import ClassVar

_REPLACEMENT = "\ufffd"
# Lone surrogates that stand for no byte. (Those of surrogateescape, U+DC80 to U+DCFF, stand for one.)
_OTHER_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def printable(text: str) -> str:
    """Returns `text` without lone surrogates: those that stand for UTF-8 bytes become characters, the others U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        escaped = _OTHER_SURROGATES.sub(_REPLACEMENT, text)
        return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


class LlmcoreError(Exception):
    """Common class of all errors that llmcore raises on purpose."""

    code: ClassVar[str] = "internal_error"
    retry_after_s: float | None = None  # seconds to wait before the same request is sent again, if that helps
    index: int | None = None  # place of the prompt at fault in the caller's list of prompts

    def __init__(self, message: str, *, param: str | None = None) -> None:
        # The message goes into JSON and to other processes, and may contain a file name that is not UTF-8.
        self.message = printable(message)
        self.param = None if param is None else printable(param)
        super().__init__(self.message)


class ConfigError(LlmcoreError, ValueError):
    """An option is unknown, or its value is not allowed."""

    code = "invalid_config"


# --- The native library -----------------------------------------------------------------------------------------------


class LibraryError(LlmcoreError):
    """The native libraries are missing, or lack a function of the pinned llama.cpp."""

    code = "native_library"


class ForeignLibraryError(LibraryError):
    """Another copy of llama.cpp in this process would be used in place of ours. The message names its file."""

    code = "native_library_foreign"


class AbiError(LibraryError):
    """A structure of llmcore/llama/ffi differs from the headers that the native library was built with."""

    code = "abi_mismatch"


class CpuError(LibraryError):
    """The CPU lacks instructions that the native libraries were compiled for."""

    code = "cpu_unsupported"


class NativeError(LlmcoreError):
    """llama.cpp reported a failure."""

    code = "native_error"


class KernelsUnfitError(NativeError):
    """Our kernels compute this model wrongly on this machine, or end the process: load it with kernels=off."""

    code = "kernels_unfit"


class ClosedError(LlmcoreError):
    """A handle was used after close()."""

    code = "closed"


class ForkedError(LlmcoreError):
    """An object that was loaded before a fork was used in the child, which lacks the threads that native code relies on."""

    code = "forked"


# --- Model files and memory -------------------------------------------------------------------------------------------


class ModelError(LlmcoreError):
    """A model cannot be loaded."""

    code = "model_error"


class ModelMissingError(ModelError):
    """There is no file at the model path."""

    code = "model_missing"


class ModelFormatError(ModelError):
    """The file is not GGUF, or its structure is damaged."""

    code = "model_format"


class ModelKindError(ModelError):
    """The file is intact but no model that can be served: an adapter, a projector or a vocabulary, for example."""

    code = "model_kind"


class ModelTruncatedError(ModelFormatError):
    """The file ends before the last of its tensors."""

    code = "model_truncated"


class ModelSplitError(ModelError):
    """The path names a part of a split GGUF that is not the first, or a part is missing."""

    code = "model_split"


class ModelArchitectureError(ModelError):
    """This llama.cpp does not know the model's architecture."""

    code = "model_architecture"


class ModelLoadAborted(ModelError):
    """The progress callback stopped the loading."""

    code = "model_load_aborted"


class ModelLoadDiedError(ModelError):
    """Loading ended the engine's process repeatedly: by an abort of native code, a signal, or a lack of memory."""

    code = "model_load_died"


class InsufficientMemoryError(ModelError):
    """Model, KV cells and compute buffers need `need_bytes` of memory, and only `available_bytes` are available."""

    code = "insufficient_memory"

    def __init__(
        self, message: str, *, need_bytes: int = 0, available_bytes: int = 0, param: str | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.need_bytes = need_bytes
        self.available_bytes = available_bytes


class RpcError(ModelError):
    """An RPC server for a part of the model is not reachable or has another version."""

    code = "rpc_unavailable"


class DownloadError(LlmcoreError):
    """A model could not be fetched. No partial model file is left."""

    code = "download_failed"


# --- Requests ---------------------------------------------------------------------------------------------------------


class InvalidRequestError(LlmcoreError, ValueError):
    """The request is not valid; `param` names the field."""

    code = "invalid_request"


class ContextLengthError(InvalidRequestError):
    """The prompt does not fit into the context. `n_prompt` and `n_ctx` are in tokens."""

    code = "context_length_exceeded"

    def __init__(self, message: str, *, n_prompt: int = 0, n_ctx: int = 0, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.n_prompt = n_prompt
        self.n_ctx = n_ctx


class UnsupportedError(InvalidRequestError):
    """This model, or this build, does not support the request."""

    code = "unsupported"


class ConstraintError(InvalidRequestError):
    """An answer cannot continue under its constraint: a limit was reached, or no token may come next."""

    code = "constraint_failed"


class AnswerParseError(LlmcoreError, ValueError):
    """The text of an answer is not JSON, or its JSON is not a value of the type that was asked for."""

    code = "answer_unparsed"


class LogitsProcessorError(InvalidRequestError):
    """The caller's logits_processor raised an error, or returned something that no token can be drawn from."""

    code = "logits_processor_failed"

    def __init__(self, message: str, *, param: str | None = "logits_processor") -> None:
        super().__init__(message, param=param)


class PoisonousError(InvalidRequestError):
    """The engine's process ended twice while it worked on this request, which is refused for some time."""

    code = "request_poisonous"


class StateFileError(InvalidRequestError):
    """A file is no saved state of a prompt, is damaged, or belongs to another model or other KV types."""

    code = "state_file"


class PrefixMissingError(InvalidRequestError):
    """There is no pinned prefix of that name."""

    code = "prefix_missing"


# --- The engine -------------------------------------------------------------------------------------------------------


class EngineError(LlmcoreError):
    """The engine failed while working on a request."""

    code = "engine_error"


class CellsBrokenError(EngineError):
    """KV cells hold NaN or infinite values, which spread to other sequences: the engine must be opened again."""

    code = "cells_broken"


class EngineUnavailableError(EngineError):
    """The engine is starting, restarting or stopping: the same request may succeed later."""

    code = "engine_unavailable"


class EngineDiedError(EngineUnavailableError):
    """The engine's process ended while this request was running."""

    code = "engine_died"


class OverloadedError(EngineError):
    """The queue is full. `retry_after_s` is the wait to suggest, in seconds."""

    code = "overloaded"
    retry_after_s: float

    def __init__(self, message: str, *, retry_after_s: float = 1.0, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class RequestCancelledError(EngineError):
    """The request was cancelled by its id."""

    code = "cancelled"


class RequestTimeoutError(EngineError):
    """The request's timeout passed before its answer was finished."""

    code = "timeout"


def _all_subclasses(cls: type[LlmcoreError]) -> list[type[LlmcoreError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in _all_subclasses(child))]


def error_from_code(
    code: str, message: str, param: str | None = None, retry_after_s: float | None = None
) -> LlmcoreError:
    """Makes the exception that has `code` again, after it crossed a process boundary. LlmcoreError for an unknown code."""
    if code == OverloadedError.code and retry_after_s is not None:
        return OverloadedError(message, retry_after_s=retry_after_s, param=param)
    for cls in _all_subclasses(LlmcoreError):
        if cls.code == code:
            return cls(message, param=param)
    return LlmcoreError(message, param=param)
