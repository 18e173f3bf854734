"""Checks of the installation and the configuration: native libraries, BLAS, model file, memory, port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from llmcore.config import EngineConfig
from llmcore.doctor.check import Check
from llmcore.doctor.library_probe import Finding
from llmcore.errors import AbiError, CpuError, ForeignLibraryError, LlmcoreError
from llmcore.gguf.model_checks import check_model_metadata
from llmcore.gguf.split_model import check_model_file
from llmcore.machine.memory import memory_available_bytes, memory_limit_bytes

_REBUILD = "build llmcore again (make build, or pip install .)"


def check_library(finding: Finding) -> Check:
    """Checks that the native libraries load, and are of the same version as the Python files."""
    if finding.error_code == CpuError.code:
        return Check("library", "fail", finding.error, "see cpu")
    if finding.error_code == ForeignLibraryError.code:
        return Check("library", "fail", finding.error, "one llama.cpp for each process")
    if finding.error_code:
        advice = "Python files and library are of different versions: " if finding.error_code == AbiError.code else ""
        return Check("library", "fail", finding.error, advice + _REBUILD)
    build = finding.build
    backends = ", ".join(str(each.get("name")) for each in finding.backends)
    found = (
        f"llama.cpp {build.get('llama_cpp')} ({build.get('llama_cpp_commit')}), backends {backends}; {finding.n_abi} sizes and "
        "offsets agree"
    )
    if finding.files:
        found += f"; loaded from {finding.folder}: {', '.join(finding.files)}"
    if finding.other_files:
        found += f"; also loaded, and not used: {', '.join(finding.other_files)}"
    return Check("library", "ok", found)


def check_blas(finding: Finding, *, wanted: bool) -> Check:
    """Checks BLAS. `wanted` is True for the option blas=on."""
    if not finding.build:
        return Check("blas", "ok" if not wanted else "warn", "unknown, as the library cannot be loaded", "see library")
    blas = finding.build["blas"]
    if wanted and not blas["built"]:
        return Check(
            "blas", "fail", "asked for, and not built in", "--blas off, or build with LLMCORE_BLAS=scipy or system"
        )
    if not blas["built"]:
        return Check("blas", "ok", "not built in")
    words = str(finding.build.get("openblas_config") or blas["source"])
    if wanted:
        advice = "compare with --blas off: if ggml has kernels for this CPU, they are usually faster"
        return Check("blas", "warn", f"on ({words})", advice)
    return Check("blas", "ok", f"built in ({words}), off: ggml's own kernels are usually faster")


def check_model(config: EngineConfig) -> Check:
    """Checks the model file as the service does before it loads it."""
    if not config.model_path:
        return Check("model", "fail", "no model", "`llmcore pull` fetches the default one; MODEL_PATH names another")
    try:
        header = check_model_file(config.model_path)
        check_model_metadata(header)
    except LlmcoreError as error:
        return Check("model", "fail", error.message, "another file, or `llmcore pull` for a known model")
    if not os.access(config.model_path, os.R_OK):
        return Check("model", "fail", f"{config.model_path} cannot be read", "give this user the right to read it")
    name, architecture = header.metadata.get("general.name", ""), header.metadata.get("general.architecture", "")
    size = f"{header.tensor_bytes / 2**20:.0f} MiB of weights"
    return Check("model", "ok", f"{config.model_path}: {architecture} {name}, {size}".replace(" ,", ","))


def check_memory(finding: Finding, root: Path = Path("/")) -> Check:
    """Checks that weights, KV cells and compute buffers fit into the memory that the machine and its control groups leave."""
    available, limit = memory_available_bytes(root), memory_limit_bytes(root)
    available_words = f"{_mib(available)} available" + (
        f" (control group's limit {_mib(limit)})" if limit is not None else ""
    )
    need = finding.need
    if need is None:
        why = finding.need_error or "there is no model or no library to ask"
        return Check(
            "memory", "warn", f"{available_words}; what the model takes is unknown: {why}", "see model and library"
        )
    found = (
        f"{_mib(need.total_bytes)} needed ({_mib(need.model_bytes)} weights, {_mib(need.context_bytes)} KV cells "
        f"for {need.n_ctx} tokens, {_mib(need.compute_bytes)} compute buffers), {available_words}"
    )
    if need.total_bytes <= available:
        return Check("memory", "ok", found)
    advice = "a smaller --n-ctx or --n-ubatch, a smaller quantization, or a larger memory limit"
    if need.least_bytes <= available:
        found += f"; with other attention settings {_mib(need.least_bytes)}, which the service falls back on"
        return Check("memory", "warn", found, advice)
    return Check("memory", "fail", found, advice)


def check_port(host: str, port: int, *, name: str = "port") -> Check:
    """Checks that the service can listen on an address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen()  # with SO_REUSEADDR, an address that is bound but not listened on seems free until here
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "stop what listens there (a service that runs already?), or choose another address or port"
        return Check(name, "fail", f"{host} port {port}: {reason}", advice)
    return Check(name, "ok", f"{host} port {port} is free" if port else f"{host}, any free port")


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.0f} MiB"
