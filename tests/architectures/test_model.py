from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmcore.batch import Batch
from llmcore.gguf.header import read_header
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from tests.architectures.layout import LayoutError
from tests.architectures.model import write_architecture
from tests.architectures.names import architecture_names
from tests.architectures.vocabulary import n_vocab


@pytest.mark.parametrize(("architecture", "experts"), [("llama", False), ("llama", True), ("qwen35moe", None)])
def test_a_model_of_an_architecture_computes(tmp_path: Path, architecture: str, experts: bool | None) -> None:
    path = write_architecture(tmp_path / "m.gguf", architecture, experts=experts)
    has_experts = any("_exps" in tensor.name for tensor in read_header(path).tensors)
    assert has_experts == (experts is not False)
    with Model(path) as model, Context(model, ContextParams(n_ctx=64)) as context:
        assert model.architecture == architecture
        tokens = model.tokenize("Hello, world. Ünïcode")
        assert model.detokenize(tokens).strip() == "Hello, world. Ünïcode"
        batch = Batch(64)
        row = batch.add(0, 0, tokens, wants_logits=True)
        context.decode(batch)
        logits = context.logits(row.logits_at)
        assert logits.shape == (n_vocab(),)
        assert np.isfinite(logits).all()
        assert np.std(logits) > 0.01


def test_the_same_seed_makes_the_same_file(tmp_path: Path) -> None:
    first, second, other = (
        write_architecture(tmp_path / f"{i}.gguf", "mamba", seed=seed).read_bytes() for i, seed in enumerate((1, 1, 2))
    )
    assert first == second != other
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0.gguf", "1.gguf", "2.gguf"]


def test_a_loader_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="unknown model architecture: 'lxama'"):
        write_architecture(tmp_path / "m.gguf", "lxama")
    assert list(tmp_path.iterdir()) == []


def test_names_of_architectures() -> None:
    names = architecture_names()
    assert len(names) == len(set(names)) > 120
    assert {"llama", "mamba", "lfm2moe", "gpt-oss"} <= set(names)
