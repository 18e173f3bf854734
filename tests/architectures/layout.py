"""Names and shapes of a model's tensors, from llama.cpp's own loader, which needs only metadata.

`python -m tests.architectures.layout FILE` prints them as JSON. It is a process of its own, because the loader aborts where
metadata make no sense to it.
"""

from __future__ import annotations

import ctypes as C
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from llmcore.llama.ffi.library import library_dir, load_library
from llmcore.llama.ffi.structures import LlamaModelParams

_ROOT = Path(__file__).parent.parent.parent
_SetData = C.CFUNCTYPE(None, C.c_void_p, C.c_void_p)


class LayoutError(Exception):
    """An error for metadata that the loader refuses, with its last log lines."""


@dataclass(frozen=True)
class TensorLayout:
    """A tensor; `shape` as in numpy, the innermost dimension last."""

    name: str
    shape: tuple[int, ...]


def layout_of(metadata: Path) -> list[TensorLayout]:
    """Returns the tensors of the model that a file of metadata describes. Raises LayoutError."""
    command = [sys.executable, "-m", "tests.architectures.layout", str(metadata)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise LayoutError("\n".join(done.stderr.splitlines()[-5:]) or f"exit status {done.returncode}")
    return [TensorLayout(name, tuple(shape)) for name, shape in json.loads(done.stdout.splitlines()[-1])]


class _GgufParams(C.Structure):
    _fields_ = (("no_alloc", C.c_bool), ("ctx", C.c_void_p))


def _ask_loader(path: str) -> list[TensorLayout]:
    lib, base, llama = (
        load_library(),
        *(C.CDLL(str(library_dir() / f"lib{name}.so")) for name in ("ggml-base", "llama")),
    )
    base.gguf_init_from_file.restype, base.gguf_init_from_file.argtypes = C.c_void_p, (C.c_char_p, _GgufParams)
    base.ggml_get_name.restype, base.ggml_get_name.argtypes = C.c_char_p, (C.c_void_p,)
    init = llama.llama_model_init_from_user
    init.restype, init.argtypes = C.c_void_p, (C.c_void_p, _SetData, C.c_void_p, LlamaModelParams)
    metadata = base.gguf_init_from_file(os.fsencode(path), _GgufParams(True, None))
    found: dict[str, TensorLayout] = {}

    def note(tensor: int, _user: object) -> None:
        # struct ggml_tensor begins with its type, padding, its buffer and the four sizes.
        sizes = list((C.c_int64 * 4).from_address(tensor + 16))
        while len(sizes) > 1 and sizes[-1] == 1:
            sizes.pop()
        name = base.ggml_get_name(tensor).decode()
        found[name] = TensorLayout(name, tuple(reversed(sizes)))

    if not metadata or not init(metadata, _SetData(note), None, lib.llama_model_default_params()):
        raise SystemExit("the loader refuses it")
    return list(found.values())


def main() -> None:
    logging.basicConfig()  # what the loader refuses is a line on stderr
    print(json.dumps([(each.name, each.shape) for each in _ask_loader(sys.argv[1])]))


if __name__ == "__main__":
    main()
