"""Callers in the same steps do not affect each other, also in architectures whose graphs are fixed (native/fixes)."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.llama.context import Context
from llmcore.llama.model import Model
from tests.architectures.model import write_architecture
from tests.architectures.probe import Probe, params

# Architectures whose graphs are fixed, and others that keep a state for each sequence.
MENDED = ["plamo2", "rwkv6qwen2", "arwkv7", "cogvlm"]
RECURRENT = ["mamba", "mamba2", "jamba", "lfm2", "minimax-01", "qwen3next", "qwen35", "rwkv6", "rwkv7"]


@pytest.mark.parametrize("architecture", MENDED + RECURRENT)
def test_two_callers_as_each_alone(architecture: str, tmp_path: Path) -> None:
    path = write_architecture(tmp_path / "m.gguf", architecture)
    with Model(path, kernels="off") as model, Context(model, params()) as context:
        probe = Probe(context)
        assert probe.together() < 1e-4
        assert probe.fork() < 1e-4


def test_a_prompt_is_answered_by_its_last_token(tmp_path: Path) -> None:
    path = write_architecture(tmp_path / "m.gguf", "cogvlm")
    with Model(path, kernels="off") as model, Context(model, params()) as context:
        probe = Probe(context)
        whole = probe.step({0: (0, [50, 60, 70])})
        for slot, last in ((1, 70), (2, 71)):
            probe.step({slot: (0, [50, 60])})
            alike = probe.step({slot: (2, [last])})
            assert (abs(alike - whole).max() < 1e-4) == (last == 70)
