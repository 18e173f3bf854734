"""Conversion of a model file to another type of weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from llmcore.errors import InvalidRequestError, LlmcoreError, NativeError
from llmcore.gguf.split_model import check_model_file
from llmcore.llama.ffi.arrays import address_of
from llmcore.llama.ffi.library import load_library
from llmcore.llama.interruptible_call import call_interruptibly
from llmcore.machine.atomic_write import replaced_file
from llmcore.machine.process import Process

# llama_ftype, by llama.h of the pinned source.
FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q4_K_M": 15,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "BF16": 32,
}


def quantize(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    file_type: str,
    *,
    threads: int = 0,
    requantize: bool = False,
) -> None:
    """Writes a GGUF file with another type of weights. `target` appears when it is complete; Ctrl-C ends the work at the next
    tensor.

    Args:
        source: F32 or F16; any type with `requantize`, which loses accuracy twice.
        file_type: one of FILE_TYPES.
        threads: 0 for all cores.

    Raises:
        InvalidRequestError: the type is unknown.
        ModelError: `source` is not a model file.
        LlmcoreError: llama.cpp cannot quantize it, or `target` cannot be written.
    """
    if file_type not in FILE_TYPES:
        message = f"file_type must be one of {', '.join(FILE_TYPES)}, got {file_type!r}"
        raise InvalidRequestError(message, param="file_type")
    check_model_file(os.fspath(source))
    Process.current.check_computes()
    lib = load_library()
    params, stop = lib.llama_model_quantize_default_params(), np.zeros(1, np.int32)
    params.ftype, params.nthread, params.allow_requantize = FILE_TYPES[file_type], threads, requantize

    def call(partial: Path) -> None:
        lib.check(lib.lc_quantize(os.fsencode(source), os.fsencode(partial), params, address_of(stop)))

    try:
        with replaced_file(Path(target)) as partial:
            call_interruptibly(lambda: call(partial), lambda: stop.fill(1))
    except NativeError as error:
        raise LlmcoreError(f"llama.cpp cannot quantize {os.fspath(source)}: {error}") from None
    except OSError as error:
        raise LlmcoreError(f"{os.fspath(target)} cannot be written: {error.strerror}") from None
