"""The fingerprint changes with what decides the bits of an answer, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.messages import Computation
from llmcore.startup.computation import describe_computation


def described(path: Path, kernels: str = "auto", **params: object) -> Computation:
    with Model(path, kernels=kernels) as model:
        context = Context(model, ContextParams(**({"n_ctx": 256, "flash_attn": True} | params)))  # type: ignore[arg-type]
        found = describe_computation(context)
        context.close()
    return found


def test_the_fingerprint(tiny: Callable[..., Path]) -> None:
    path = tiny("fingerprint", quant="Q8_0")
    found = described(path)
    assert found.fingerprint.startswith("fp_")
    same = [described(path), described(path, n_ctx=512, n_slots=3, threads=2, threads_batch=2)]
    assert {each.fingerprint for each in same} == {found.fingerprint}
    others = [
        described(path, kernels="off"),
        described(path, flash_attn=False),
        described(path, cache_type_k="bf16", cache_type_v="bf16"),
        described(tiny("fingerprint-other", quant="Q8_0", seed=5)),
    ]
    assert len({each.fingerprint for each in [found, *others]}) == 5
    assert (others[0].kernels, others[1].flash_attn, others[2].cache_type_k) == ("none", False, "bf16")
    assert others[3].model_digest != found.model_digest
