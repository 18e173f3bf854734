"""Facts about a model for users and clients."""

from __future__ import annotations

from llmcore.llama.model import Model
from llmcore.machine.os_text import system_name
from llmcore.machine.threads import ThreadDecision
from llmcore.messages import Computation, ModelInfo


def model_info(
    model: Model,
    n_ctx: int,
    pooling: str = "none",
    threads: ThreadDecision | None = None,
    *,
    has_reasoning_efforts: bool = False,
    computation: Computation | None = None,
) -> ModelInfo:
    """Returns the facts about a loaded model.

    Args:
        n_ctx: cells of the running context; 0 without one.
        pooling: how its embeddings are pooled.
        has_reasoning_efforts: the chat template has a variable for the effort of reasoning.
        computation: how its answers are computed.
    """
    return ModelInfo(
        path=system_name(model.path),
        description=model.description,
        architecture=model.architecture,
        n_params=model.n_params,
        size_bytes=model.size_bytes,
        n_vocab=model.n_vocab,
        n_embd=model.n_embd,
        n_layer=model.n_layer,
        n_ctx_train=model.n_ctx_train,
        n_ctx=n_ctx,
        has_chat_template=model.chat_template is not None,
        has_reasoning_efforts=has_reasoning_efforts,
        can_generate=model.can_generate,
        pooling=pooling,
        threads=threads,
        computation=computation,
        sampling_metadata={key: value for key, value in model.metadata.items() if key.startswith("general.sampling.")},
    )
