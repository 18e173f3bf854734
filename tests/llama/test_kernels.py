"""The option `kernels`, and whole models with our own kernels against the same models with ggml's."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from llmcore import LLM
from llmcore.batch import Batch
from llmcore.config import KERNEL_CHOICES, KERNEL_LEVELS, EngineConfig
from llmcore.errors import ConfigError, InvalidRequestError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import load_library
from llmcore.llama.kernels import decide_kernels, decide_level, use_kernels
from llmcore.llama.model import Model
from llmcore.llama.quantization import quantize
from tests.log_events import events
from tests.native_kernels import Floats, levels, levels_missing
from tests.tiny_models import write_tiny_bert, write_tiny_gemma3, write_tiny_llama, write_tiny_mamba

needs_kernels = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Restores the kernels in use, which are a setting of the process."""
    before = KERNEL_LEVELS[load_library().lc_kernels_used()]
    yield
    use_kernels("off" if before == "none" else before)


def test_which_levels_this_machine_cannot_run(record_property: Callable[[str, object], None]) -> None:
    """Prints them: `pytest -rA` shows the output, the report has them as a property."""
    missing = ", ".join(levels_missing()) or "none"
    record_property("levels_not_run", missing)
    print(f"kernels not tested on this machine: {missing}")
    runs = {KERNEL_LEVELS[level] for level in levels()}
    assert runs >= {"avx2"} or not runs
    assert runs >= {"avx512"} or "amx" not in runs


def test_an_option_stands_for_a_level() -> None:
    assert decide_level("off") == 0
    assert decide_level("auto") == max(levels(), default=0)
    for level in levels():
        assert decide_level(KERNEL_LEVELS[level]) == level
    with pytest.raises(ConfigError, match="sse2"):
        decide_level("sse2")
    assert KERNEL_CHOICES[:2] == ("auto", "off")


def test_a_level_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_library(), "lc_kernels_runs", lambda level: level < 1)
    monkeypatch.setattr(load_library(), "lc_kernels_best", lambda: 0)
    with pytest.raises(ConfigError, match="no more than none"):
        decide_level("amx")


@needs_kernels
@pytest.mark.parametrize(("level", "n_threads"), [(-1, 1), (99, 1), (1, 0)])
def test_native_code_refuses_unknown_instruction_sets_and_no_threads(level: int, n_threads: int) -> None:
    lib = load_library()
    with pytest.raises(InvalidRequestError):
        lib.check(lib.lc_kernels_use(level, n_threads))


# --- Whole models -----------------------------------------------------------------------------------------------------------


def logits_of(path: Path, kernels: str, tokens: list[int], *, flash_attn: bool = True, threads: int = 2) -> Floats:
    """Logits after a long prompt, and of two of six sequences that continue it by one token in one batch."""
    params = ContextParams(
        n_ctx=1024, n_slots=6, n_batch=512, threads=threads, threads_batch=threads, flash_attn=flash_attn
    )
    with Model(path, kernels=kernels) as model, Context(model, params) as context:
        batch, found = Batch(512), []
        batch.add(0, 0, tokens[:-1], wants_logits=True)
        context.decode(batch)
        found.append(context.logits(len(tokens) - 2).copy())
        for slot in range(1, 6):
            context.copy(0, slot, 0, len(tokens) - 1)
        batch.clear()
        for slot in range(6):
            batch.add(slot, len(tokens) - 1, tokens[-1:], wants_logits=True)
        context.decode(batch)
        found += [context.logits(row).copy() for row in (0, 5)]
        return np.array(found)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("quant", ["Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"])
def test_a_model_computes_what_it_computes_without(
    tiny: Callable[..., Path], tmp_path: Path, level: int, quant: str
) -> None:
    """The bound is below the error of rounding activations to 8 bits, which both do (test_context.py)."""
    source, path = tiny("wide", n_embd=512, n_ff=1024, n_head=8, n_head_kv=2, quant="F16"), tmp_path / "quantized.gguf"
    quantize(source, path, quant)
    tokens = [int(token) for token in np.random.default_rng(0).integers(3, 1000, 300)]
    theirs = logits_of(path, "off", tokens, flash_attn=False)
    for threads in (1, 2, 3):
        ours = logits_of(path, KERNEL_LEVELS[level], tokens, threads=threads)
        error = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
        assert error.max() < 0.08, (threads, error)


@needs_kernels
@pytest.mark.parametrize("write", [write_tiny_llama, write_tiny_gemma3, write_tiny_mamba])
@pytest.mark.parametrize("flash_attn", [True, False])
def test_architectures_whose_operations_stay_with_ggml_in_part(
    write: Callable[..., Path], flash_attn: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.gguf", quant="Q8_0")
    tokens = [int(token) for token in np.random.default_rng(1).integers(3, 900, 40)]
    logits = {}
    for kernels in ("off", "auto"):
        params = ContextParams(n_ctx=256, threads=2, threads_batch=2, flash_attn=flash_attn)
        with Model(path, kernels=kernels) as model, Context(model, params) as context:
            batch, found = Batch(64), []
            for start, n in ((0, 39), (39, 1)):
                batch.clear()
                row = batch.add(0, start, tokens[start : start + n], wants_logits=True)
                context.decode(batch)
                found.append(context.logits(row.logits_at).copy())
            logits[kernels] = np.array(found)
    error = np.linalg.norm(logits["auto"] - logits["off"]) / np.linalg.norm(logits["off"])
    # Both round. With AMX, the product for 39 rows is chosen by measurement: 0.051 and 0.088 were seen for the same file.
    assert error < 0.12


@needs_kernels
def test_an_encoder_with_packed_weights(tmp_path: Path) -> None:
    path, vectors = write_tiny_bert(tmp_path / "bert.gguf", quant="Q8_0"), {}
    for kernels in ("off", "auto"):
        with LLM(path, kernels=kernels) as llm:
            vectors[kernels] = np.array(llm.embed(["a short text", "another one, which is a little longer"]))
    cosines = (vectors["off"] * vectors["auto"]).sum(axis=1) / (
        np.linalg.norm(vectors["off"], axis=1) * np.linalg.norm(vectors["auto"], axis=1)
    )
    assert cosines.min() > 0.995


@needs_kernels
def test_a_file_that_is_read_instead_of_mapped(default_model: Path) -> None:
    found = []
    for mmap in (True, False):
        with Model(default_model, mmap=mmap) as model, Context(model, ContextParams(n_ctx=64)) as context:
            batch = Batch(8)
            row = batch.add(0, 0, [5, 6, 7], wants_logits=True)
            context.decode(batch)
            found.append(context.logits(row.logits_at).copy())
    np.testing.assert_array_equal(found[0], found[1])


@pytest.fixture(scope="module")
def exact(default_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[int], Floats, Floats]]:
    """Tokens of each text, their logits with the dequantized weights in fp32, and with ggml's kernels."""
    exact_path = tmp_path_factory.mktemp("exact") / "f32.gguf"
    quantize(default_model, exact_path, "F32", requantize=True)
    with Model(default_model, vocab_only=True) as model:
        texts = [model.tokenize(text) for text in TEXTS]
    return [
        (
            tokens,
            logits_of(exact_path, "off", tokens, flash_attn=False),
            logits_of(default_model, "off", tokens, flash_attn=False),
        )
        for tokens in texts
    ]


@needs_kernels
@pytest.mark.parametrize("level", levels())
def test_the_default_model_is_as_near_to_fp32_as_with_ggml(
    default_model: Path, exact: list[tuple[list[int], Floats, Floats]], level: int
) -> None:
    """Compares the mean error of the logits of six texts."""
    ours, theirs = [], []
    for tokens, right, ggml in exact:
        norm = np.linalg.norm(right)
        ours.append(np.linalg.norm(logits_of(default_model, KERNEL_LEVELS[level], tokens) - right) / norm)
        theirs.append(np.linalg.norm(ggml - right) / norm)
    # A coarse bound, since there are six texts; `benchmarks.accuracy` measures many.
    assert np.mean(ours) <= 1.4 * np.mean(theirs), (ours, theirs)


TEXTS = (
    "The capital of France is Paris, and the river that runs through it is the",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Once upon a time there was a little girl who lived in a village near the forest. " * 4,
    "User: What are your opening hours?\nAssistant: We are open from nine to five, Monday to",
    "Water boils at 100 degrees Celsius at sea level, because the pressure of the",
    "1, 2, 3, 4, 5, 6, 7, 8, 9,",
)


@needs_kernels
def test_the_log_says_which_operations_run_where(default_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="llmcore.llama.kernels"):
        Model(default_model, kernels="auto").close()
        Model(default_model, kernels="off").close()
    lines = events(caplog, "kernels")
    assert [line["instructions"] for line in lines] == [KERNEL_LEVELS[max(levels())], "none"]
    assert "attention" in lines[0]["own"]


@needs_kernels
def test_packed_weights_take_little_more_than_the_file(default_model: Path) -> None:
    lib = load_library()
    before = lib.lc_kernels_packed_bytes()
    with Model(default_model, kernels="auto") as model:
        packed = lib.lc_kernels_packed_bytes() - before
        assert 0 < packed <= 1.12 * model.size_bytes
    assert lib.lc_kernels_packed_bytes() == before


@needs_kernels
def test_a_profile_tells_each_operation(default_model: Path) -> None:
    lib = load_library()
    with (
        Model(default_model, kernels="auto") as model,
        Context(model, ContextParams(n_ctx=256, flash_attn=True)) as context,
    ):
        lib.lc_kernels_profile_start()
        batch = Batch(8)
        batch.add(0, 0, [1, 2, 3], wants_logits=True)
        context.decode(batch)
        profile = json.loads(lib.take_string(lib.lc_kernels_profile_stop))
        context.decode(batch) if context.remove(0) else None
        assert json.loads(lib.take_string(lib.lc_kernels_profile_stop)) == profile, "it has ended"
    assert profile["FLASH_ATTN_EXT"]["calls"] == 30
    assert all(each["seconds"] >= 0 for each in profile.values())


@needs_kernels
def test_a_step_is_aborted_within(default_model: Path) -> None:
    from llmcore.llama.context import StepAborted

    with (
        Model(default_model, kernels="auto") as model,
        Context(model, ContextParams(n_ctx=512, flash_attn=True)) as context,
    ):
        batch = Batch(256)
        batch.add(0, 0, [1] * 256, wants_logits=True)
        context.abort_flag.set(True)
        with pytest.raises(StepAborted):
            context.decode(batch)
        context.abort_flag.set(False)
        context.remove(0)
        context.decode(batch)
        assert np.isfinite(context.logits(255)).all()


@needs_kernels
def test_repeatable_kernels_have_no_amx() -> None:
    level = decide_kernels(EngineConfig(repeatable="on"))
    assert level in ("avx2", "avxvnni", "avx512")
    assert decide_level(level) <= decide_level("auto")
    assert decide_kernels(EngineConfig(repeatable="on", kernels="avx2")) == "avx2"
    assert decide_kernels(EngineConfig(kernels="auto")) == "auto"
