"""Runs OpenVINO GenAI once, in the environment that benchmarks.openvino_side makes, which lacks llmcore and this package.

    build/openvino/bin/python -I benchmarks/openvino_child.py MODEL THREADS JSON

JSON names figures, each with rows, tokens of a row's prompt, and tokens of its answer after the first: {"x": [8, 32, 16]}.
Prints seconds: until the first token if the answer has one token, else of each step of the answers.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

CACHE_GB, CHUNK = 4, 256


class Pipeline:
    """Pipeline with continuous batching, prompts in chunks of 256 (its default), and no prefix cache."""

    def __init__(self, path: str, threads: int) -> None:
        self._genai: Any = importlib.import_module("openvino_genai")
        self._openvino: Any = importlib.import_module("openvino")
        self._numpy: Any = importlib.import_module("numpy")
        scheduler = self._genai.SchedulerConfig()
        scheduler.cache_size, scheduler.max_num_batched_tokens = CACHE_GB, CHUNK
        scheduler.enable_prefix_caching = False
        options = {"INFERENCE_NUM_THREADS": threads}
        self._pipeline: Any = self._genai.ContinuousBatchingPipeline(path, scheduler, "CPU", options)
        self._n_prompts = 0

    def steps(self, n_rows: int, n_prompt: int, n_answer: int) -> list[float]:
        """Computes all rows. Returns the seconds of each step, first those of the prompts."""
        config = self._genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = 1 + n_answer, True, False
        # The handles must live until the answers are complete.
        handles = [self._pipeline.add_request(i, self._prompt(n_prompt), config) for i in range(n_rows)]
        seconds = []
        while self._pipeline.has_non_finished_requests():
            began = time.perf_counter()
            self._pipeline.step()
            seconds.append(time.perf_counter() - began)
        del handles
        return seconds

    def _prompt(self, n: int) -> Any:
        self._n_prompts += 1
        tokens = [100 + (self._n_prompts * 7919 + i * 104_729) % 20_000 for i in range(n)]
        return self._openvino.Tensor(self._numpy.array([tokens], dtype=self._numpy.int64))

    def seconds(self, n_rows: int, n_prompt: int, n_answer: int) -> list[float]:
        found = self.steps(n_rows, n_prompt, n_answer)
        n_first = -(-n_rows * n_prompt // CHUNK)
        return found[n_first : n_first + n_answer] if n_answer else [sum(found)]


def main() -> int:
    path, threads, figures = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    began = time.perf_counter()
    pipeline = Pipeline(path, threads)
    load_s = time.perf_counter() - began
    pipeline.steps(1, 64, 4)  # code that is compiled at the first use
    seconds = {name: pipeline.seconds(*sizes) for name, sizes in figures.items()}
    print(json.dumps({"load_s": load_s, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
