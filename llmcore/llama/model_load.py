"""One load of a model file."""

from __future__ import annotations

import os
from collections.abc import Callable

from llmcore.llama.ffi.library import Library
from llmcore.llama.ffi.structures import LlamaModelParams, ProgressCallback
from llmcore.llama.handle import Handle
from llmcore.llama.interruptible_call import InterruptibleCall
from llmcore.values import wrong_value

# Called with 0..1; returning False stops the load.
LoadProgress = Callable[[float], bool]


def path_of(path: str | bytes | os.PathLike[str]) -> str:
    """Returns a path as text. Raises InvalidRequestError."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise wrong_value("path", "a path", path)
    return os.fsdecode(path)


def check_progress(progress: LoadProgress | None) -> None:
    """Raises InvalidRequestError if the argument `progress` cannot be called."""
    if progress is not None and not callable(progress):
        raise wrong_value("progress", "a function of a number from 0 to 1", progress)


class ModelLoad:
    """One load, in a thread of its own. `progress` runs in the caller's thread."""

    def __init__(self, lib: Library, path: str, params: LlamaModelParams, progress: LoadProgress | None) -> None:
        self._lib = lib
        self._path = os.fsencode(path)
        self._params = params
        self._progress = progress
        self._native_call = InterruptibleCall(self._load, self._stop)
        self.is_stopped = False
        self.reason = ""  # why llama.cpp cannot load it

    def result(self) -> Handle | None:
        """Loads the model; returns None if it cannot be loaded, or the load was stopped. Raises what `progress` raises."""
        return self._native_call.result()

    def _stop(self) -> None:
        self.is_stopped = True

    def _load(self) -> Handle | None:
        # Native code reads the callback through the structure, which must not keep it: the model outlives the load.
        report = ProgressCallback(self._report)
        self._params.progress_callback = report
        try:
            address = self._lib.lc_model_load(self._path, self._params)
            self.reason = "" if address else self._lib.load_error()  # of this thread
        finally:
            self._params.progress_callback = ProgressCallback()
        return Handle.create(address, self._lib.llama_model_free, self._lib) if address else None

    def _report(self, fraction: float, _user_data: object) -> bool:
        # Runs in the native thread, where no signal is delivered: nothing here raises.
        progress = self._progress
        if progress is not None and not self.is_stopped:
            self.is_stopped = not self._native_call.ask_caller(lambda: progress(fraction))
        return not self.is_stopped
