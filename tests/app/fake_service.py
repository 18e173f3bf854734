"""`llmcore serve` with the fake engine in place of the real one, as a process that tests can send signals to."""

from __future__ import annotations

import sys

from llmcore.config import EngineConfig
from llmcore.errors import ModelFormatError
from llmcore_app import serve
from tests.app.fake_engine import FakeEngine


def fake(config: EngineConfig, *, log_level: str) -> FakeEngine:
    engine = FakeEngine()
    if "broken" in config.model_path:
        engine.load_error = ModelFormatError(f"{config.model_path} is not a GGUF file")
    return engine


if __name__ == "__main__":
    serve.AsyncEngine = fake  # type: ignore[assignment, attr-defined]
    sys.exit(serve.main(sys.argv[1:]))
