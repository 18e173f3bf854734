"""The default model with every norm's weights a little off, as if other kernels rounded: what its answers look like on a
machine that nobody has tried.

`pytest --disturb SEED` runs the suite with such a file. A test that then fails asks a small model for luck.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from llmcore.gguf.header import read_header

# More than kernels differ by: every few seeds an answer of the default model that rambles on some machine does so here.
RELATIVE_NOISE = 0.02


def write_disturbed(model: Path, path: Path, seed: int) -> Path:
    """A copy of the file at `path`, of which F32 weights are multiplied by 1 + noise; the same seed gives the same file."""
    shutil.copyfile(model, path)
    header = read_header(path)
    random = np.random.default_rng(seed)
    for tensor in header.tensors:
        if tensor.type.name == "F32":
            start = header.data_start + tensor.offset
            weights = np.memmap(path, np.float32, "r+", offset=start, shape=tensor.shape[::-1])
            weights *= 1 + RELATIVE_NOISE * random.standard_normal(weights.shape, np.float32)
            weights.flush()
    return path
