"""Models by their names on the command lines of the benchmarks."""

from __future__ import annotations

from pathlib import Path

from benchmarks.make_model import bench_model
from llmcore.hub.model_store import default_model_path


def named_model(name: str) -> Path:
    """Returns the path of `1b` (made if it is missing), `default`, or a GGUF file. Raises ValueError without the default model."""
    if name == "1b":
        return bench_model()
    path = default_model_path() if name == "default" else Path(name)
    if path is None:
        raise ValueError("the default model is not here: run llmcore pull")
    return path
