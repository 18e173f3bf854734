"""Recurrent and hybrid models with packed weights: several sequences in a step, forks, states, a service.

They multiply weights by activations of several dimensions, a sequence in each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.service import Service, wait_until
from llmcore.batch import Batch
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import load_library
from llmcore.llama.model import Model
from llmcore.messages import Failed, Finished, GenerateRequest, Piece, TokensPrompt
from llmcore.sampling import SamplingParams
from tests.architectures.model import write_architecture, write_dequantized, write_quantized
from tests.architectures.vocabulary import n_vocab
from tests.native_kernels import Floats, levels

pytestmark = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

# Architectures that once aborted.
ARCHITECTURES = ["mamba", "lfm2", "lfm2moe", "jamba", "plamo2", "minimax-01", "qwen3next", "qwen35", "qwen35moe"]
QUANTS = ["Q4_0", "Q4_1", "Q5_0", "Q4_K_M", "Q5_K_M", "Q6_K"]

# Activations of eight bits, through all layers: 0.005 to 0.017 were seen, with ggml's own kernels as well.
ERROR = 0.03

Pair = tuple[Path, Path]
MakePair = Callable[[str, str], Pair]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> MakePair:
    """Returns a function that writes a model of an architecture and type, and the same weights in F32."""
    folder = tmp_path_factory.mktemp("architectures")
    made: dict[tuple[str, str], Pair] = {}

    def make(architecture: str, quant: str) -> Pair:
        if (architecture, quant) not in made:
            source = folder / f"{architecture}.gguf"
            if not source.exists():
                write_architecture(source, architecture)
            path = write_quantized(folder / f"{architecture}-{quant}.gguf", source, quant)
            made[architecture, quant] = path, write_dequantized(folder / f"{architecture}-{quant}-f32.gguf", path)
        return made[architecture, quant]

    return make


def prompts(n: int) -> list[list[int]]:
    """Sequences of equal and of different lengths: llama.cpp divides their batches in two ways."""
    rng = np.random.default_rng(0)
    return [[int(token) for token in rng.integers(3, n_vocab(), length)] for length in (9, 9, 5)[:n]]


def params(n_slots: int) -> ContextParams:
    return ContextParams(n_ctx=128 * n_slots, n_slots=n_slots, n_batch=64, threads=2, threads_batch=2)


def step(context: Context, batch: Batch, rows: dict[int, tuple[int, list[int]]]) -> list[Floats]:
    """Decodes each slot's tokens from its position on, in one batch. Returns the logits after each slot's last token."""
    batch.clear()
    last = [batch.add(slot, start, tokens, wants_logits=True) for slot, (start, tokens) in rows.items()]
    context.decode(batch)
    return [context.logits(row.logits_at).copy() for row in last]


def logits_of(path: Path, kernels: str, n_sequences: int) -> Floats:
    """Decodes a prompt of each sequence and two more tokens, all sequences in the same steps."""
    texts = prompts(n_sequences)
    with Model(path, kernels=kernels) as model, Context(model, params(n_sequences)) as context:
        batch = Batch(64)
        found = step(context, batch, {slot: (0, text) for slot, text in enumerate(texts)})
        for i in range(2):
            found += step(context, batch, {slot: (len(text) + i, [7 + slot + i]) for slot, text in enumerate(texts)})
    return np.array(found)


def error(ours: Floats, right: Floats) -> float:
    return float(np.linalg.norm(ours - right) / np.linalg.norm(right))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("n_sequences", [2, 3])
def test_several_sequences_in_a_step(models: MakePair, architecture: str, n_sequences: int) -> None:
    path, exact = models(architecture, "Q8_0")
    before = load_library().lc_kernels_unpacked_bytes()
    ours = logits_of(path, "auto", n_sequences)
    assert load_library().lc_kernels_unpacked_bytes() == before, "ggml computed with copies of packed weights"
    assert error(ours, logits_of(exact, "off", n_sequences)) < ERROR


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("architecture", ["mamba", "lfm2"])
def test_every_type(models: MakePair, architecture: str, quant: str) -> None:
    path, exact = models(architecture, quant)
    assert error(logits_of(path, "auto", 2), logits_of(exact, "off", 2)) < ERROR


@pytest.mark.parametrize("architecture", ["mamba", "minimax-01"])
def test_without_kernels(models: MakePair, architecture: str) -> None:
    """llama.cpp repacks weights of this type for its own kernels."""
    path, exact = models(architecture, "Q4_0")
    assert error(logits_of(path, "off", 2), logits_of(exact, "off", 2)) < ERROR


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_forks_and_saved_states_go_on_alike(models: MakePair, architecture: str) -> None:
    path, _ = models(architecture, "Q8_0")
    [text] = prompts(1)
    with Model(path, kernels="auto") as model, Context(model, params(3)) as context:
        batch = Batch(64)
        step(context, batch, {0: (0, text)})
        context.copy(0, 1, 0, len(text))
        context.load_state(2, context.save_state(0))
        first, fork, restored = step(context, batch, {slot: (len(text), [11]) for slot in range(3)})
        np.testing.assert_allclose(fork, first, atol=1e-4)
        np.testing.assert_allclose(restored, first, atol=1e-4)
        first, fork, restored = step(context, batch, {slot: (len(text) + 1, [20 + slot]) for slot in range(3)})
        assert np.abs(fork - first).max() > 0.01
        assert np.abs(restored - first).max() > 0.01


@pytest.mark.parametrize("architecture", ["mamba", "lfm2", "qwen35"])
def test_two_answers_of_one_prompt(models: MakePair, architecture: str) -> None:
    """Two answers like those of `n: 2`: the second begins as a fork of the first one's prompt."""
    path, _ = models(architecture, "Q8_0")
    greedy, prompt = SamplingParams(temperature=0.0), TokensPrompt(tuple(range(40, 70)))
    texts: dict[str, str] = {"a": "", "b": ""}
    with Engine.open(EngineConfig(model_path=str(path), n_ctx=256, n_slots=2, kernels="auto")) as engine:
        for name in texts:
            engine.submit(
                GenerateRequest(request_id=name, prompt=prompt, sampling=greedy, max_tokens=12, ignore_eos=True)
            )
        while engine.has_work:
            for output in engine.step():
                assert not isinstance(output, Failed), output
                if isinstance(output, (Piece, Finished)):
                    texts[output.request_id] += output.text
    assert texts["a"] == texts["b"] != ""


@pytest.mark.e2e
def test_a_service_lives_through_two_callers(models: MakePair) -> None:
    path, _ = models("lfm2", "Q8_0")
    flags = ("--n-ctx", "256", "--n-slots", "2", "--profile-dir", "", "--drain-s", "5")
    with Service(*flags, environ={"MODEL_PATH": str(path)}) as service:
        wait_until(lambda: httpx.get(f"{service.base_url}/healthz").status_code == 200, 60, "readiness")
        body = {"prompt": "Once upon a time", "n": 2, "max_tokens": 8, "ignore_eos": True}
        for _ in range(2):
            reply = httpx.post(f"{service.base_url}/v1/completions", json=body, timeout=60)
            assert reply.status_code == 200, reply.text
            assert len(reply.json()["choices"]) == 2
        page = httpx.get(f"{service.base_url}/metrics").text
        [restarts] = [line for line in page.splitlines() if line.startswith("llm_service_engine_restarts_total")]
        assert float(restarts.split()[-1]) == 0
