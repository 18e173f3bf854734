"""The running step: interrupts, what it announces, and errors in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import CellsBrokenError, ClosedError, NativeError
from llmcore.messages import Failed, TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import STORY, finish, request, run
from tests.tiny_models import break_token


def test_an_interrupt_aborts_a_step_that_serves_only_its_request(default_model: Path) -> None:
    config = EngineConfig(
        model_path=str(default_model),
        n_ctx=4096,
        n_batch=2048,
        n_ubatch=64,
        flash_attn="off",
        cache_type_k="f16",
        cache_type_v="f16",
    )
    with Engine.open(config) as engine:
        engine.submit(request("gone", "word " * 2000))
        timer = threading.Timer(0.1, engine.interrupt, [frozenset({"gone"})])
        timer.start()
        assert engine.step() == []  # without the interrupt it would take far longer than 0.1 s and give a token
        timer.join()
        engine.cancel("gone")
        assert engine.stats().n_steps == 0
        assert run(engine, request("next", STORY, max_tokens=4))["next"].usage.n_generated == 4


def test_an_interrupt_does_not_abort_a_step_that_serves_others(engine: Engine) -> None:
    engine.interrupt(frozenset({"a"}))
    assert run(engine, request("a", STORY, max_tokens=4))["a"].usage.n_generated == 4


def test_a_step_is_announced_with_its_requests_and_predicted_seconds(tiny_engine: Engine) -> None:
    told: list[tuple[tuple[str, ...], float]] = []
    tiny_engine.observe_steps(lambda request_ids, seconds: told.append((request_ids, seconds)))
    for name in ("a", "b"):
        tiny_engine.submit(request(name, STORY, max_tokens=3, ignore_eos=True))
    while tiny_engine.has_work:
        tiny_engine.step()
    assert {tuple(sorted(ids)) for ids, _ in told} >= {("a", "b")}
    assert told[-1][1] > 0


def test_nan_in_a_cell_ends_the_engine_if_attention_multiplies_masked_cells(tiny: Callable[..., Path]) -> None:
    path = break_token(tiny("untied", is_tied=False), 777)
    with Engine.open(exact(path, n_ctx=1024, n_slots=4, flash_attn="off")) as engine:
        engine.submit(request("a", TokensPrompt((5, 6, 7)), max_tokens=20))
        engine.submit(request("broken", TokensPrompt((9, 777)), max_tokens=20))
        with pytest.raises(CellsBrokenError, match="not finite"):
            finish(engine)


def failing(engine: Engine, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def decode(batch: object) -> None:
        raise error

    monkeypatch.setattr(engine._context, "decode", decode)


def test_a_step_that_fails_ends_its_own_requests_and_is_rolled_back(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = TokensPrompt(tuple(range(300, 340)))
    tiny_engine.submit(request("a", prompt, ignore_eos=True))
    with monkeypatch.context() as patched:
        failing(tiny_engine, patched, NativeError("llama.cpp failed"))
        [failed] = tiny_engine.step()
    assert isinstance(failed, Failed)
    assert (failed.request_id, failed.message) == ("a", "llama.cpp failed")
    assert not tiny_engine.has_work
    assert run(tiny_engine, request("b", prompt, ignore_eos=True))["b"].usage.n_generated == 24


def test_after_ctrl_c_the_same_step_can_be_computed(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_engine.submit(request("a", TokensPrompt(tuple(range(300, 340))), max_tokens=4, ignore_eos=True))
    with monkeypatch.context() as patched:
        failing(tiny_engine, patched, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            tiny_engine.step()
    assert tiny_engine.stats().n_steps == 0
    finish(tiny_engine)
    assert tiny_engine.stats().n_tokens_generated == 4


def test_an_error_after_close_is_a_closed_error(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_engine.submit(request("a", TokensPrompt(tuple(range(300, 340))), ignore_eos=True))

    def decode(batch: object) -> None:
        tiny_engine.close()
        raise NativeError("llama.cpp failed")

    monkeypatch.setattr(tiny_engine._context, "decode", decode)
    with pytest.raises(ClosedError):
        tiny_engine.step()
