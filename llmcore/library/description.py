"""Description of a loaded model in a line."""

from __future__ import annotations

import os

from llmcore.engine.encoder import AnyEngine
from llmcore.errors import printable


def describe(engine: AnyEngine) -> str:
    """Returns the file, the cells of the context, the threads and the kernels: "'model.gguf', n_ctx=8192, threads=2,
    kernels='avx2'"."""
    info, model = engine.info(), engine.model
    file = printable(os.path.basename(model.path))
    return f"{file!r}, n_ctx={info.n_ctx}, threads={engine.threads}, kernels={model.kernels!r}"
