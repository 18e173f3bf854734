"""Opens the GGUF files that are named on its input, one after the other, as the worker does, and prints the result of each. A
program of its own, since native code may end it: see tests/gguf/test_fuzz.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.errors import LlmcoreError


def load(path: str) -> str:
    """ "ok", or the name of a typed error; anything else is a fault of ours."""
    options = {"flash_attn": "off", "cache_type_k": "f32", "cache_type_v": "f32"}
    try:
        engine = open_engine(EngineConfig(model_path=path, n_ctx=64, n_batch=16, n_ubatch=16, n_slots=2, **options))  # type: ignore[arg-type]
    except LlmcoreError as error:
        return type(error).__name__
    try:
        engine.warm_up()
        tokens = engine.model.tokenize("Hello wörld\n", add_special=True, parse_special=True)
        engine.model.detokenize(tokens, unparse_special=True)
    except LlmcoreError as error:
        return type(error).__name__
    finally:
        engine.close()
    return "ok"


def main() -> None:
    for line in sys.stdin:
        path = line.strip()
        try:
            said = load(path)
        except Exception as error:
            said = f"untyped {error!r}"
        Path(path).unlink()
        print(said.splitlines()[0], flush=True)


if __name__ == "__main__":
    main()
