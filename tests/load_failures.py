"""A worker whose loading fails as its first argument says, in place of the real one; see test_client.py."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import NoReturn

from llmcore.llama import ffi
from llmcore.worker import loading, main

EXCEPTIONS = {
    "OSError": OSError(28, "No space left on device"),
    "RuntimeError": RuntimeError("Could not determine home directory."),
    "UnicodeEncodeError": UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    "MemoryError": MemoryError(),
    "TypeError": TypeError("expected str, got \udcff"),
}


def fail(*_: object, **__: object) -> NoReturn:
    how = os.environ["LOAD_FAILURE"]
    if how in EXCEPTIONS:
        raise EXCEPTIONS[how]
    if how == "abort":
        library = ffi.library()
        library.ggml_abort(b"/build/somewhere/llama.cpp", 5, b"fatal: %s", b"no such thing")
    os.kill(os.getpid(), signal.Signals[how])
    raise AssertionError("the signal ended it")


if __name__ == "__main__":
    if os.environ["LOAD_FAILURE"] == "abort":
        ffi.SIGNATURES += (("ggml_abort", None, (ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)),)
    setattr(loading, "open_engine", fail)  # noqa: B010  it is not its own
    main.main()
