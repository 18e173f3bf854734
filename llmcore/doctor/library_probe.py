"""Examines the native libraries for `llmcore doctor` in a child process, so that a crash does no harm.

    python -m llmcore.doctor.library_probe < question.json

Reads a Question from standard input and writes a Finding to standard output, both as JSON.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import msgspec

from llmcore.config import EngineConfig, attach_paths, detach_paths
from llmcore.errors import LlmcoreError, NativeError, printable
from llmcore.gguf.model_checks import check_model_metadata
from llmcore.gguf.split_model import check_model_file
from llmcore.llama.attention_shape import attention_shape
from llmcore.llama.context_params import ContextParams, native_params
from llmcore.llama.ffi.library import library_dir, load_library
from llmcore.llama.ffi.origin import mapped_libraries
from llmcore.llama.kernels import attends, decide_kernels, use_kernels
from llmcore.llama.memory_estimate import estimate_memory
from llmcore.machine.child_process import exit_words, run_module
from llmcore.startup.attention_settings import AttentionSettings, candidates
from llmcore.startup.resolve import decide_batches, decide_n_ctx, decide_n_running, n_slots_cached

_TIMEOUT_S = 120.0


class Need(msgspec.Struct, frozen=True):
    """Bytes of weights, KV cells and compute buffers for `n_ctx` cells, as llama.cpp estimates them. `least_bytes` is their sum
    with the smallest attention settings that the configuration leaves open."""

    n_ctx: int
    model_bytes: int
    context_bytes: int
    compute_bytes: int
    least_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.model_bytes + self.context_bytes + self.compute_bytes


class Question(msgspec.Struct, frozen=True):
    """The configuration to examine; `paths` are its paths (config.detach_paths)."""

    config: EngineConfig
    paths: dict[str, bytes] = {}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the examination. `error_code` and `error` give the reason why the libraries cannot be used, `need_error` the reason
    why memory could not be estimated."""

    error_code: str = ""
    error: str = ""
    n_abi: int = 0  # number of sizes and offsets that were compared
    build: dict[str, Any] = {}
    backends: list[dict[str, Any]] = []
    folder: str = ""  # of the libraries
    files: list[str] = []  # loaded from it
    other_files: list[str] = []  # loaded files of another llama.cpp, which are not used
    need: Need | None = None
    need_error: str = ""


def probe(config: EngineConfig, *, python: str = sys.executable) -> Finding:
    """Examines in a child process. Never raises for a failure of the child: a crash is reported as an error in the Finding.

    Args:
        config: if it has a model_path, the memory of that model is estimated too.
        python: the interpreter (for tests).
    """
    question = msgspec.json.encode(Question(*detach_paths(config)))
    try:
        done = run_module("llmcore.doctor.library_probe", question, timeout_s=_TIMEOUT_S, python=python)
    except subprocess.TimeoutExpired:
        return Finding(error_code="native_library", error=f"loading them takes longer than {_TIMEOUT_S:.0f} s")
    try:
        return msgspec.json.decode(done.stdout, type=Finding)
    except msgspec.MsgspecError:
        return Finding(error_code="native_library", error=f"loading them ended a process with {_end(done)}")


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return ": ".join([exit_words(done.returncode), *last])


def examine_libraries(config: EngineConfig) -> Finding:
    """Loads the libraries in this process, and estimates the memory of the config's model."""
    try:
        lib = load_library()
        build, backends, n_abi = lib.build_info(), lib.backends(), len(lib.abi())
        folder = library_dir()
    except LlmcoreError as error:
        return Finding(error_code=error.code, error=error.message)
    need, need_error = None, ""
    if config.model_path:
        try:
            need = _need(config)
        except (LlmcoreError, MemoryError) as error:
            need_error = str(error)
    files = mapped_libraries(folder)
    return Finding(
        n_abi=n_abi,
        build=build,
        backends=backends,
        folder=printable(str(folder)),
        files=[os.path.basename(each) for each in files.ours],
        other_files=[printable(each) for each in files.others],
        need=need,
        need_error=need_error,
    )


def _need(config: EngineConfig) -> Need:
    """Estimates the memory of the attention settings that startup.resolve.open_context() would prefer, and the least of all open
    settings. Raises LlmcoreError."""
    header = check_model_file(config.model_path)
    check_model_metadata(header)
    n_ctx_train = header.metadata.get(f"{header.metadata.get('general.architecture')}.context_length", 0)
    n_ctx = decide_n_ctx(config, n_ctx_train if isinstance(n_ctx_train, int) else 0)
    needs, problem = [], NativeError("no attention settings are left open")
    use_kernels(decide_kernels(config))
    shape = attention_shape(header)
    for settings in candidates(config, shape, has_kernels=attends(shape, "f16", "f16")):
        try:
            needs.append(_estimate(config, n_ctx, settings))
        except NativeError as error:  # not every model supports all settings
            problem = error
    if not needs:
        raise problem
    return msgspec.structs.replace(needs[0], least_bytes=min(need.total_bytes for need in needs))


def _estimate(config: EngineConfig, n_ctx: int, settings: AttentionSettings) -> Need:
    n_batch, n_ubatch = decide_batches(config)
    params = ContextParams(
        n_ctx=n_ctx,
        n_slots=n_slots_cached(decide_n_running(config)) + 1,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        cache_type_k=settings.cache_type_k,
        cache_type_v=settings.cache_type_v,
        flash_attn=settings.flash_attn,
    )
    model = load_library().llama_model_default_params()
    model.use_extra_bufts = config.repack
    found = estimate_memory(config.model_path, model, native_params(params))
    return Need(n_ctx, found.model_bytes, found.context_bytes, found.compute_bytes)


def main() -> int:
    # Native log lines, even critical ones, belong on standard error.
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(examine_libraries(attach_paths(question.config, question.paths))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
