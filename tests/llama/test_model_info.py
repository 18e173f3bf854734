"""Facts about a model."""

from __future__ import annotations

from pathlib import Path

from llmcore.llama.model import Model
from llmcore.llama.model_info import model_info


def test_facts_are_the_models_and_the_contexts(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        info = model_info(model, 128, "mean")
        assert (info.path, info.n_ctx, info.pooling) == (str(tiny_model), 128, "mean")
        assert (info.architecture, info.n_vocab, info.n_embd) == ("llama", model.n_vocab, model.n_embd)
        assert not info.has_reasoning_efforts
        assert model_info(model, 128, has_reasoning_efforts=True).has_reasoning_efforts
        assert (info.can_generate, info.has_chat_template) == (True, model.chat_template is not None)
