"""Every exception that llmcore raises on purpose.

An exception carries data, not formatting: `message` for people, `code` for programs (stable, snake_case), `param` for the
argument or field at fault. The HTTP layer maps the classes to status codes in one place; this module knows nothing of HTTP.
"""

from __future__ import annotations

import re
from typing import ClassVar

_REPLACEMENT = "\ufffd"
# Those that stand for no byte (surrogateescape's are U+DC80 to U+DCFF).
_OTHER_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def printable(text: str) -> str:
    """`text` without lone surrogates: those that stand for bytes of UTF-8 become its characters, others U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        escaped = _OTHER_SURROGATES.sub(_REPLACEMENT, text)
        return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


class LlmcoreError(Exception):
    """Base of all errors that llmcore raises on purpose."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        # It goes into JSON and to other processes, and may name a file that is not UTF-8.
        self.message = printable(message)
        self.param = None if param is None else printable(param)
        super().__init__(self.message)


class ConfigError(LlmcoreError, ValueError):
    """An option has an unknown name or a value that it cannot take."""

    code = "invalid_config"


# --- The native library -----------------------------------------------------------------------------------------------


class LibraryError(LlmcoreError):
    """The native libraries are missing, or lack a function of the pinned llama.cpp."""

    code = "native_library"


class ForeignLibraryError(LibraryError):
    """Another copy of llama.cpp in the process would be used in place of ours. The message names its file."""

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
    """Our own kernels compute this model wrongly on this machine, or end the process: load it with kernels=off."""

    code = "kernels_unfit"


class ClosedError(LlmcoreError):
    """A handle was used after close()."""

    code = "closed"


class ForkedError(LlmcoreError):
    """Something that was loaded before a fork was used in the child: it has none of the threads that native code relies on."""

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
    """The file is as it should be, and no model that can be served: an adapter, a projector, a vocabulary alone and such."""

    code = "model_kind"


class ModelTruncatedError(ModelFormatError):
    """The file ends before the tensors that it announces."""

    code = "model_truncated"


class ModelSplitError(ModelError):
    """One part of a split GGUF was named that is not the first, or a part is missing."""

    code = "model_split"


class ModelArchitectureError(ModelError):
    """This llama.cpp does not know the model's architecture."""

    code = "model_architecture"


class ModelLoadAborted(ModelError):
    """The progress callback asked to stop loading."""

    code = "model_load_aborted"


class ModelLoadDiedError(ModelError):
    """Loading ended the engine's process, again and again: by an abort of native code, a signal, or for want of memory."""

    code = "model_load_died"


class InsufficientMemoryError(ModelError):
    """Model, KV cells and compute buffers need more memory than there is. `need_bytes` and `available_bytes` say how much."""

    code = "insufficient_memory"

    def __init__(
        self, message: str, *, need_bytes: int = 0, available_bytes: int = 0, param: str | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.need_bytes = need_bytes
        self.available_bytes = available_bytes


class RpcError(ModelError):
    """A server that is to compute a part of the model cannot be used: not reachable, or of another version."""

    code = "rpc_unavailable"


class DownloadError(LlmcoreError):
    """A model could not be fetched. Nothing half-written is left."""

    code = "download_failed"


# --- Requests ---------------------------------------------------------------------------------------------------------


class InvalidRequestError(LlmcoreError, ValueError):
    """The request cannot be honoured as it stands; `param` names the field."""

    code = "invalid_request"


class ContextLengthError(InvalidRequestError):
    """The prompt does not fit into the context: `n_prompt` and `n_ctx`, both in tokens."""

    code = "context_length_exceeded"

    def __init__(self, message: str, *, n_prompt: int = 0, n_ctx: int = 0, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.n_prompt = n_prompt
        self.n_ctx = n_ctx


class UnsupportedError(InvalidRequestError):
    """This model, or this build, cannot do what was asked."""

    code = "unsupported"


class ConstraintError(InvalidRequestError):
    """An answer cannot go on as its constraint wants it: a limit was reached, or no token is left that may come next."""

    code = "constraint_failed"


class PoisonousError(InvalidRequestError):
    """The engine's process died twice while it worked on this very request: it is refused for some time."""

    code = "request_poisonous"


class PrefixMissingError(InvalidRequestError):
    """There is no pinned prefix of that name."""

    code = "prefix_missing"


# --- The engine -------------------------------------------------------------------------------------------------------


class EngineError(LlmcoreError):
    """The engine failed while working on a request."""

    code = "engine_error"


class CellsBrokenError(EngineError):
    """The KV cells hold numbers that ran over, and what they hold spreads: the engine must be opened anew."""

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

    def __init__(self, message: str, *, retry_after_s: float = 1.0, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class RequestCancelledError(EngineError):
    """Somebody cancelled this request by its id."""

    code = "cancelled"


class RequestTimeoutError(EngineError):
    """The request's own deadline passed before its answer was finished."""

    code = "timeout"


def _all_subclasses(cls: type[LlmcoreError]) -> list[type[LlmcoreError]]:
    return [cls, *(deeper for child in cls.__subclasses__() for deeper in _all_subclasses(child))]


def error_from_code(
    code: str, message: str, param: str | None = None, retry_after_s: float | None = None
) -> LlmcoreError:
    """The exception of class `code`, as it crossed a process boundary; an unknown code gives LlmcoreError."""
    if code == OverloadedError.code and retry_after_s is not None:
        return OverloadedError(message, retry_after_s=retry_after_s, param=param)
    for cls in _all_subclasses(LlmcoreError):
        if cls.code == code:
            return cls(message, param=param)
    return LlmcoreError(message, param=param)
