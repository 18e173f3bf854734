"""Architectures of the pinned llama.cpp, by the names that files give them."""

from __future__ import annotations

import re

from benchmarks.source import llama_cpp_dir
from llmcore.llama.ffi.library import load_library

_TABLE = re.compile(r"LLM_ARCH_NAMES = \{(.*?)\n\};", re.DOTALL)
_NAME = re.compile(r'\{ LLM_ARCH_\w+, *"([^"(]+)" *\}')


def architecture_names() -> list[str]:
    """Returns all architectures in the loader's order. Some generate nothing (clip), or cannot be made from metadata alone."""
    found = _TABLE.search((llama_cpp_dir() / "src" / "llama-arch.cpp").read_text("utf-8"))
    assert found is not None
    names = _NAME.findall(found[1])
    return [name for name in names if load_library().lc_architecture_known(name.encode())]
