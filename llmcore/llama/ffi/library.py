"""The native library: libllama's C functions and our shim (native/shim/llmcore.h).

This package is the only one that knows ctypes. Its table of signatures is resolved when the library is loaded; a missing function
is a LibraryError that names the pinned version. Every native call goes through a `Library` and releases the interpreter lock while
it runs.
"""

from __future__ import annotations

import ctypes as C
import functools
import importlib.metadata
import json
import os
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmcore.errors import InvalidRequestError, LibraryError, NativeError
from llmcore.llama.ffi.abi import PINNED, AbiRow, check_abi
from llmcore.llama.ffi.abort_flag import AbortFlag
from llmcore.llama.ffi.arrays import function_address
from llmcore.llama.ffi.native_log import NativeLog, log_abort
from llmcore.llama.ffi.origin import check_functions, check_global_scope
from llmcore.llama.ffi.signatures import SIGNATURES
from llmcore.llama.ffi.structures import AbortMessageCallback, LogCallback
from llmcore.llama.interruptible_call import call_interruptibly, no_stop
from llmcore.machine.cpufeatures import check_cpu
from llmcore.machine.threads import brief_spinning

LIBRARY_NAME = "libllmcore.so"

_LC_OK, _LC_ERR_INVALID, _LC_ERR_NATIVE, _LC_ERR_NO_MEMORY = range(4)

_FUNCTION_NAME = re.compile(r"^\w+: ")


def library_dir() -> Path:
    """Returns the folder of the native libraries: llmcore/lib in a wheel, in site-packages of an editable install. Raises
    LibraryError if it lacks them."""
    beside = Path(__file__).parents[2] / "lib"
    if (beside / LIBRARY_NAME).exists():
        return beside
    try:
        installed = Path(str(importlib.metadata.distribution("llmcore").locate_file("llmcore/lib")))
    except importlib.metadata.PackageNotFoundError:
        installed = beside
    if not (installed / LIBRARY_NAME).exists():
        raise LibraryError(f"{LIBRARY_NAME} is not installed: build llmcore first (make build, or pip install .)")
    return installed


class Library:
    """The loaded native libraries; each function of SIGNATURES is an attribute.

    Raises LibraryError, ForeignLibraryError or AbiError.
    """

    def __init__(self, folder: Path) -> None:
        check_global_scope(folder)
        try:
            self._handle = C.CDLL(str(folder / LIBRARY_NAME))
        except OSError as error:
            raise LibraryError(f"cannot load {folder / LIBRARY_NAME}: {error}") from None
        for name, result, arguments in SIGNATURES:
            try:
                function = getattr(self._handle, name)
            except AttributeError:
                raise LibraryError(f"the native library lacks {name}: it was not built from {PINNED}") from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        check_functions(((name, function_address(getattr(self, name))) for name, *_ in SIGNATURES), folder)
        check_abi(self.abi())
        self._abort_flags: weakref.WeakSet[AbortFlag] = weakref.WeakSet()
        self._log = LogCallback(NativeLog(lambda: any(flag.is_set for flag in self._abort_flags)))
        self._abort = AbortMessageCallback(log_abort)
        self.lc_set_callbacks(self._log, self._abort)
        self.check(self.lc_backends_load(os.fsencode(folder)))
        self.llama_backend_init()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} is not in SIGNATURES of llmcore/llama/ffi/signatures.py")

    def abi(self) -> dict[str, AbiRow]:
        """Returns the shim's ABI table: sizes of structures and offsets of fields, as its compiler saw them."""
        n = C.c_size_t()
        table = self.lc_abi_table(C.byref(n))
        return {table[i].name.decode(): AbiRow(table[i].value, table[i].size) for i in range(n.value)}

    # --- Errors -------------------------------------------------------------------------------------------------------

    def last_error(self) -> str:
        """Returns the error message of the shim's last call on this thread; "" if it did not fail."""
        return str(self.lc_last_error().decode("utf-8", "replace"))

    def check(self, status: int) -> None:
        """Turns a status of the shim into an exception."""
        if status == _LC_OK:
            return
        message = self.last_error()
        if status == _LC_ERR_INVALID:
            raise InvalidRequestError(message)
        if status == _LC_ERR_NO_MEMORY:
            raise MemoryError(message or "native code is out of memory")
        raise NativeError(message or f"native code failed with status {status}")

    def check_pointer(self, pointer: int | None, what: str) -> int:
        """Returns a pointer that native code made. Raises NativeError for NULL; `what` names the call."""
        if not pointer:
            raise NativeError(f"{what} failed: {self.last_error() or 'see the log'}")
        return pointer

    def load_error(self) -> str:
        """Returns in one line why llama.cpp could not load a model or create a context: its error lines on this thread, without
        the names of its functions."""
        lines = [_FUNCTION_NAME.sub("", line).strip() for line in self.last_error().splitlines()]
        reasons = [line for line in lines if line and line != "failed to load model"]
        return "; ".join(dict.fromkeys(reasons or lines))

    # --- Calls --------------------------------------------------------------------------------------------------------

    def take_string(self, call: Callable[..., int], *arguments: object) -> str:
        """Calls a function of the shim whose last parameter is `char **out`; returns that string and frees it."""
        out = C.c_void_p()
        self.check(call(*arguments, C.byref(out)))
        try:
            return C.string_at(out.value or 0).decode("utf-8", "replace")
        finally:
            self.lc_string_free(out)

    def attach_abort_flag(self, context: int, flag: AbortFlag) -> None:
        """Makes a context (its handle) poll a flag, which must outlive it. While the flag is set, native log lines are debug
        lines."""
        self._abort_flags.add(flag)
        self.llama_set_abort_callback(context, C.cast(self.lc_abort_if_set, C.c_void_p), flag.address)

    def build_info(self) -> dict[str, Any]:
        """Returns versions and options of the build."""
        info: dict[str, Any] = json.loads(self.lc_build_info())
        return info

    def backends(self) -> list[dict[str, Any]]:
        """Returns ggml's backends and their devices."""
        found: list[dict[str, Any]] = json.loads(self.take_string(self.lc_backends_json))
        return found


@functools.cache
def load_library() -> Library:
    """Returns the process's native library, loaded at the first call. There is one: llama.cpp's own state (log, backends) is
    global. Raises LibraryError."""
    folder = library_dir()
    check_cpu(folder)
    with brief_spinning():
        return call_interruptibly(lambda: Library(folder), no_stop)
