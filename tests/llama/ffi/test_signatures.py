"""The table of native functions."""

from __future__ import annotations

import re
from pathlib import Path

from llmcore.llama.ffi.signatures import SIGNATURES

ROOT = Path(__file__).parents[3]
NAMES = [name for name, *_ in SIGNATURES]


def test_each_function_is_declared_once() -> None:
    assert len(NAMES) == len(set(NAMES))


def test_each_function_of_the_shim_is_declared_in_its_header() -> None:
    header = (ROOT / "native/shim/llmcore.h").read_text("utf-8")
    header += "".join(path.read_text("utf-8") for path in (ROOT / "native/kernels").rglob("*.h"))
    missing = [name for name in NAMES if name.startswith("lc_") and not re.search(rf"\b{name}\(", header)]
    assert missing == []


def test_each_function_is_called_from_python() -> None:
    files = [path for folder in ("llmcore", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    text = "".join(
        path.read_text("utf-8") for path in files if path.name not in ("signatures.py", "test_signatures.py")
    )
    called = set(re.findall(r"\b(?:lc|llama)_\w+", text))
    assert sorted(set(NAMES) - called) == []
