"""Context: steps, memory operations, states, aborts, and refusals instead of crashes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from llmcore.batch import Batch
from llmcore.errors import ClosedError, InsufficientMemoryError, InvalidRequestError, NativeError, UnsupportedError
from llmcore.llama import context as context_module
from llmcore.llama.context import Context, NoCellsError, StepAborted
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.arrays import Float32Array
from llmcore.llama.model import Model

PROMPT = list(range(100, 140))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as loaded:
        yield loaded


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    with Context(model, ContextParams(n_ctx=256, n_slots=4, n_batch=64, n_ubatch=64)) as made:
        yield made


def compute(context: Context, slot: int, start: int, tokens: list[int]) -> Float32Array:
    """Computes tokens of one sequence; the logits after the last."""
    batch = Batch(len(tokens))
    row = batch.add(slot, start, tokens, wants_logits=True)
    context.decode(batch)
    return context.logits(row.logits_at)


def test_one_batch_equals_many_small_ones(context: Context) -> None:
    whole = compute(context, 0, 0, PROMPT)
    for i, token in enumerate(PROMPT):
        last = compute(context, 1, i, [token])
    np.testing.assert_allclose(last, whole, atol=2e-3)


def test_quantized_kernels_agree_whatever_the_batch(default_model: Path) -> None:
    """Steps of one token and large ones use other kernels, which quantize activations in their own ways. Relative to the
    logits' norm the difference seen is 0.03; plain int8 kernels and fp32 differ by 0.07."""
    with Model(default_model) as model, Context(model, ContextParams(n_ctx=512, n_slots=2)) as context:
        tokens = model.tokenize("You are a pirate. " * 10 + "Tell me about ships.")
        whole = compute(context, 0, 0, tokens)
        for i, token in enumerate(tokens):
            last = compute(context, 1, i, [token])
    assert np.linalg.norm(last - whole) / np.linalg.norm(whole) < 0.1


def test_sequences_of_one_batch_do_not_mix(context: Context) -> None:
    alone = [compute(context, slot, 0, PROMPT[slot : slot + 10]) for slot in (0, 1)]
    context.clear()
    batch = Batch(20)
    rows = [batch.add(slot, 0, PROMPT[slot : slot + 10], wants_logits=True) for slot in (0, 1)]
    context.decode(batch)
    for row, expected in zip(rows, alone, strict=True):
        np.testing.assert_allclose(context.logits(row.logits_at), expected, atol=2e-3)


def test_copy_shares_a_prefix(context: Context) -> None:
    compute(context, 0, 0, PROMPT)
    context.copy(0, 2, 0, 20)
    assert context.span(2) == (0, 19)
    forked = compute(context, 2, 20, [7, 8, 9])
    context.remove(0)
    fresh = compute(context, 0, 0, [*PROMPT[:20], 7, 8, 9])
    np.testing.assert_allclose(forked, fresh, atol=2e-3)


def test_remove_and_clear(context: Context) -> None:
    for slot in (0, 1, 2):
        compute(context, slot, 0, PROMPT)
    assert context.remove(0, 30)
    assert context.span(0) == (0, 29)
    assert context.remove(1)
    assert context.span(1) == (-1, -1)
    assert context.span(2) == (0, 39)
    context.clear()
    assert context.span(2) == (-1, -1)


def test_shift_moves_positions(context: Context) -> None:
    compute(context, 0, 0, PROMPT)
    context.remove(0, 0, 10)
    context.shift(0, 10, -1, -10)
    assert context.span(0) == (0, 29)


def test_a_state_is_restored_into_another_slot(context: Context) -> None:
    compute(context, 0, 0, PROMPT)
    state = context.save_state(0)
    expected = compute(context, 0, 40, [5])
    context.clear()
    context.load_state(3, state)
    assert context.span(3) == (0, 39)
    np.testing.assert_allclose(compute(context, 3, 40, [5]), expected, atol=1e-4)


def test_a_damaged_state_is_refused_and_the_slot_is_as_before(context: Context) -> None:
    compute(context, 0, 0, PROMPT)
    state = bytearray(context.save_state(0))
    state[-1] ^= 1
    for damaged in (bytes(state), bytes(state[: len(state) // 2]), b""):
        with pytest.raises(InvalidRequestError):
            context.load_state(0, damaged)
    assert context.span(0) == (0, 39)


def test_cells_that_are_cut_off_leave_the_slot_empty(context: Context) -> None:
    compute(context, 0, 0, PROMPT)
    cells = context.save_cells(0)
    with pytest.raises(NativeError):
        context.load_cells(1, cells[: len(cells) // 2])
    assert context.span(1) == (-1, -1)
    assert context.span(0) == (0, 39)


@pytest.mark.parametrize("start", [5, 38, 41, 100])
def test_a_row_that_does_not_continue_its_sequence_is_refused(context: Context, start: int) -> None:
    compute(context, 0, 0, PROMPT)
    with pytest.raises(
        InvalidRequestError, match=f"the next position of slot 0 is 40, got a row that starts at {start}"
    ):
        compute(context, 0, start, [5])
    assert context.span(0) == (0, 39)


def test_too_few_cells_change_nothing(context: Context) -> None:
    for i in range(0, 240, 60):
        compute(context, 0, i, [1] * 60)
    with pytest.raises(NoCellsError, match="256"):
        compute(context, 1, 0, [1] * 60)
    assert context.span(0) == (0, 239)
    assert context.span(1) == (-1, -1)


@pytest.mark.parametrize(
    ("slot", "tokens", "named"),
    [(0, [-1], "tokens"), (0, [10**6], "tokens"), (4, [1], "slot"), (0, [1] * 65, "n_batch")],
)
def test_bad_batches_are_refused_before_native_code_sees_them(
    context: Context, slot: int, tokens: list[int], named: str
) -> None:
    batch = Batch(128)
    batch.add(slot, 0, tokens, wants_logits=True)
    with pytest.raises(InvalidRequestError) as caught:
        context.decode(batch)
    assert caught.value.param == named


def test_an_empty_batch_and_unasked_logits_are_refused(context: Context) -> None:
    with pytest.raises(InvalidRequestError):
        context.decode(Batch(4))
    compute(context, 0, 0, [1, 2])
    with pytest.raises(InvalidRequestError, match="no logits"):
        context.logits(0)


def test_slots_are_checked(context: Context) -> None:
    for call in (
        lambda: context.remove(4),
        lambda: context.copy(0, 4),
        lambda: context.span(99),
        lambda: context.save_state(4),
    ):
        with pytest.raises(InvalidRequestError, match="slot"):
            call()


def test_the_abort_flag_ends_a_step_without_error_lines(default_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Model(default_model) as model,
        Context(model, ContextParams(n_ctx=2048, n_batch=1024, n_ubatch=128)) as context,
    ):
        batch = Batch(1024)
        batch.add(0, 0, [100] * 1024, wants_logits=True)
        context.abort_flag.set(True)
        with pytest.raises(StepAborted):
            context.decode(batch)
        context.abort_flag.set(False)
        timer = threading.Timer(0.05, context.abort_flag.set, [True])
        timer.start()
        with pytest.raises(StepAborted):
            context.decode(batch)  # 1,024 tokens take far longer than 50 ms
        timer.join()
        assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
        context.abort_flag.set(False)
        context.clear()
        context.decode(batch)


def test_threads_can_be_changed(context: Context) -> None:
    context.set_threads(1, 2)
    assert context.threads == (1, 2)
    compute(context, 0, 0, PROMPT)
    with pytest.raises(InvalidRequestError):
        context.set_threads(0, 1)


def test_a_context_that_does_not_fit_is_refused_before_it_allocates(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InsufficientMemoryError, match="smaller n_ctx") as caught:
        Context(model, ContextParams(n_ctx=2**30, n_slots=1))
    assert caught.value.need_bytes > caught.value.available_bytes > 0
    monkeypatch.setattr(context_module, "memory_available_bytes", lambda: 1000)
    with pytest.raises(InsufficientMemoryError):
        Context(model, ContextParams(n_ctx=256))


def test_memory_is_what_was_foretold(model: Model) -> None:
    with Context(model, ContextParams(n_ctx=1024, n_slots=2)) as context:
        used = context.memory_used()
    # f16 keys and values: cells × layers × KV heads × head width × 2 × 2 bytes
    head = model.n_embd // model.n_head
    assert used.context_bytes == 1024 * model.n_layer * model.n_head_kv * head * 2 * 2
    assert used.compute_bytes > 0


def test_a_closed_context_is_an_error_and_not_a_crash(model: Model) -> None:
    context = Context(model, ContextParams(n_ctx=256))
    context.close()
    context.close()
    for call in (
        context.clear,
        lambda: context.span(0),
        lambda: context.logits(0),
        lambda: compute(context, 0, 0, [1]),
    ):
        with pytest.raises(ClosedError):
            call()


def test_no_embeddings_from_a_model_that_pools_nothing(model: Model) -> None:
    with Context(model, ContextParams(n_ctx=256, embeddings=True)) as context:
        compute(context, 0, 0, PROMPT)
        with pytest.raises(UnsupportedError):
            context.embedding(0)


@pytest.mark.parametrize("quant", ["Q4_K_M", "Q8_0"])
def test_a_long_prompt_runs_through_the_matrix_kernels(tiny: Callable[..., Path], tmp_path: Path, quant: str) -> None:
    """On a CPU with AMX, gcc drops the tile configuration's stores unless native/fixes is in force: this would crash."""
    from llmcore.llama.quantization import quantize

    source = tiny("wide", n_embd=512, n_ff=1024, n_head=8, n_head_kv=2, quant="F16")
    path = tmp_path / f"{quant}.gguf"
    quantize(source, path, quant)
    with Model(path) as model, Context(model, ContextParams(n_ctx=1024, threads=2, threads_batch=2)) as context:
        tokens = [int(token) for token in np.random.default_rng(0).integers(0, 1000, 512)]
        logits = compute(context, 0, 0, tokens)
        assert np.isfinite(logits).all()
        assert logits.std() > 0


def test_a_batch_larger_than_the_context_is_refused(model: Model) -> None:
    """llama.cpp takes no more tokens at once than a causal context has cells, and would end the process."""
    params = ContextParams(n_ctx=64, n_batch=512, n_ubatch=512)
    with Context(model, params) as small:
        batch = Batch(512)
        batch.add(0, 0, list(range(100, 200)), wants_logits=True)
        with pytest.raises(InvalidRequestError, match="1 to 64 tokens, got 100"):
            small.decode(batch)
