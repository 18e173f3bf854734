"""Models by the names that the commands of this folder take."""

from __future__ import annotations

from pathlib import Path

from benchmarks.make_model import bench_model
from llmcore.hub.model_store import default_model_path


def named_model(name: str) -> Path:
    """`1b` (made if need be), `default`, or the path of a GGUF file. ValueError if the default model is not here."""
    if name == "1b":
        return bench_model()
    path = default_model_path() if name == "default" else Path(name)
    if path is None:
        raise ValueError("the default model is not here: run llmcore pull")
    return path
