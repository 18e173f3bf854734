"""A loaded model in a line."""

from __future__ import annotations

from pathlib import Path

from llmcore import LLM


def test_the_line_names_file_context_threads_and_kernels(tiny_model: Path, tiny_bert: Path) -> None:
    llm = LLM(tiny_model, n_ctx=256, threads=1, kernels="off")
    assert repr(llm) == "LLM('plain.gguf', n_ctx=256, threads=1, kernels='none')"
    llm.close()
    assert repr(llm).endswith("kernels='none', closed)")
    with LLM(tiny_bert, threads=1) as encoder:
        assert repr(encoder).startswith("LLM('bert.gguf', n_ctx=512, threads=1, ")
