"""Program of the environment of llama-cpp-python: answers prompts one after the other, and prints the time as JSON.

    python -I llama_cpp_python_child.py MODEL THREADS N_CTX N_ANSWER < prompts.json

The prompts are lists of token ids. benchmarks/library.py starts it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any


def main() -> None:
    """Measures one batch."""
    llama_class: Any = importlib.import_module("llama_cpp").Llama
    path, threads, n_ctx, n_answer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    prompts = json.load(sys.stdin)
    llm = llama_class(path, n_threads=threads, n_threads_batch=threads, n_ctx=n_ctx, verbose=False)
    llm.create_completion(prompts[0], max_tokens=4, temperature=0)
    llm.reset()
    started = time.perf_counter()
    n_tokens = 0
    for prompt in prompts:
        n_tokens += llm.create_completion(prompt, max_tokens=n_answer, temperature=0)["usage"]["completion_tokens"]
    print(json.dumps({"seconds": time.perf_counter() - started, "n_tokens": n_tokens}))


if __name__ == "__main__":
    main()
