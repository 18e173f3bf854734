"""Location of the llama.cpp source that the native libraries are built from; its vocabularies are used by tests."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

LOCK = Path(__file__).parent.parent / "native" / "llama.cpp.lock"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of files that are fetched or made once, by the rules of native/cmake/FetchLlamaCpp.cmake."""
    if environ.get("LLMCORE_CACHE_DIR"):
        return Path(environ["LLMCORE_CACHE_DIR"])
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "llmcore"
    return Path.home() / ".cache" / "llmcore"


def llama_cpp_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of the source: LLMCORE_LLAMA_CPP_DIR, else the one that the build fetched. Raises FileNotFoundError without it."""
    if environ.get("LLMCORE_LLAMA_CPP_DIR"):
        folder = Path(environ["LLMCORE_LLAMA_CPP_DIR"])
    else:
        found = re.search(r"--hash=sha256:([0-9a-f]{16})", LOCK.read_text("utf-8"))
        if found is None:
            raise FileNotFoundError(f"{LOCK} names no hash")
        folder = cache_dir(environ) / f"llama.cpp-{found[1]}"
    if not (folder / "include" / "llama.h").exists():
        raise FileNotFoundError(f"no llama.cpp source in {folder}: run `make build`, or set LLMCORE_LLAMA_CPP_DIR")
    return folder


def vocabulary(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Path of a vocabulary in the source, by its name ("llama-bpe")."""
    return llama_cpp_dir(environ) / "models" / f"ggml-vocab-{name}.gguf"
