"""Models with fast, meaningless answers: the default model's vocabulary, tiny random weights, a chat template with tools."""

from __future__ import annotations

from pathlib import Path

from benchmarks.make_model import default_bench_dir
from benchmarks.random_model import LlamaShape, n_tokens, write_model
from benchmarks.source import llama_cpp_dir
from llmcore.hub.model_store import default_model_path

DEFAULT_TEMPLATE = "Qwen-Qwen2.5-7B-Instruct"  # ChatML, as the default model's, but with tools
_N_CTX = 8192


def nonsense_model(template: str = DEFAULT_TEMPLATE, quant: str = "Q8_0") -> Path:
    """Returns the path of the file, and makes it if it is missing, which takes seconds. `template` names a template in llama.cpp's
    source. Raises FileNotFoundError without that template or the default model."""
    path = default_bench_dir() / f"nonsense-{template}-{quant}.gguf"
    if path.exists():
        return path
    vocabulary = default_model_path()
    if vocabulary is None:
        raise FileNotFoundError("the default model is not here: run llmcore pull")
    text = (llama_cpp_dir() / "models" / "templates" / f"{template}.jinja").read_text("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = LlamaShape(n_tokens(vocabulary), 64, 2, 4, 2, 128, _N_CTX)
    metadata = {
        **shape.metadata(),
        "general.name": "random weights, tiny",
        "tokenizer.chat_template": text,
    }
    write_model(path, "llama", metadata, shape.tensors(), vocabulary, quant=quant)
    return path
