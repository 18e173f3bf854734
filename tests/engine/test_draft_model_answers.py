"""Answers with a draft model are those without it, through several callers, rejections, cancels and a failing draft model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import ClosedError, ConfigError, ModelMissingError
from llmcore.library.llm import LLM
from llmcore.messages import Finished, GenerateRequest, TextPrompt
from llmcore.sampling import SamplingParams
from llmcore.speculation.draft_worth import DraftWorth
from tests.engine.scripted_drafter import buy_all
from tests.log_events import events

PROMPTS = ("Once upon a time", "Once upon a time there was", "The sea is", "To bake bread you need")


@pytest.fixture(autouse=True)
def _everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    buy_all(monkeypatch)
    monkeypatch.setattr(DraftWorth, "n_growing", lambda self, growing, *_: len(growing))
    monkeypatch.setattr(DraftWorth, "is_catching_up_worth", lambda *_: True)


def config_of(path: Path, draft: Path | str = "", **options: object) -> EngineConfig:
    plain = EngineConfig(
        model_path=str(path),
        draft_model=str(draft),
        speculation="model" if draft else "off",
        n_ctx=1024,
        n_slots=4,
        threads=1,
        flash_attn="on",
        cache_type_k="f16",
        cache_type_v="f16",
        self_check="off",
    )
    return replace(plain, **options)  # type: ignore[arg-type]


def serve(
    engine: Engine, n_answer: int, cancelled: frozenset[str] = frozenset(), *, n_kinds: int = 2
) -> dict[str, tuple[int, ...]]:
    """Serves all prompts together: greedy, and with n_kinds=2 also drawn. The cancelled ones end after some steps."""
    for i, prompt in enumerate(PROMPTS * n_kinds):
        sampling = SamplingParams(temperature=0.0 if i < len(PROMPTS) else 0.8, seed=i)
        text = TextPrompt(prompt)
        engine.submit(
            GenerateRequest(request_id=str(i), prompt=text, sampling=sampling, max_tokens=n_answer, ignore_eos=True)
        )
    found, n_steps = {}, 0
    while engine.has_work:
        for output in engine.step():
            if isinstance(output, Finished):
                found[output.request_id] = output.tokens
        n_steps += 1
        if n_steps == 5:
            for request_id in cancelled:
                engine.cancel(request_id)
    return found


def test_a_model_that_drafts_for_itself_is_nearly_always_right(default_model: Path) -> None:
    with Engine.open(config_of(default_model)) as engine:
        expected = serve(engine, 33, n_kinds=1)
    with Engine.open(config_of(default_model, default_model)) as engine:
        assert serve(engine, 33, n_kinds=1) == expected
        stats = engine.stats()
    assert stats.accepted["model"] > 0.9 * stats.drafted["model"]
    assert stats.n_answer_steps < 0.2 * stats.n_tokens_generated


def test_another_model_may_say_what_it_likes(tiny: Callable[..., Path], tiny_model: Path) -> None:
    other = tiny("drafting", n_layer=1, seed=3)
    with Engine.open(config_of(tiny_model)) as engine:
        expected = serve(engine, 40)
    with Engine.open(config_of(tiny_model, other)) as engine:
        assert serve(engine, 40) == expected
        some = serve(engine, 40, frozenset({"1", "6"}))
        assert some == {name: tokens for name, tokens in expected.items() if name not in ("1", "6")}
        assert serve(engine, 40) == expected
        assert engine.stats().drafted["model"] > 0


def test_a_draft_model_that_fails_is_switched_off(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine.open(config_of(tiny_model)) as engine:
        expected = serve(engine, 20)
    with Engine.open(config_of(tiny_model, tiny_model)) as engine:
        assert engine._speculation.draft_model is not None
        engine._speculation.draft_model._context.close()
        assert serve(engine, 20) == expected
    [failed] = events(caplog, "drafter_failed")
    assert failed["drafter"] == "model"
    assert ClosedError.__name__ in failed["error"]


def test_options_by_the_library(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LLM(tiny_model, draft_model=str(tiny_model), n_ctx=256, self_check="off") as llm:
        assert llm.generate("Once", max_tokens=8, temperature=0).usage.n_generated == 8
        assert llm.engine.stats().drafted.keys() >= {"text", "model"}
    with pytest.raises(ModelMissingError, match=r"draft_model: there is no file 'none\.gguf'$") as caught:
        LLM(tiny_model, draft_model="none.gguf")
    assert caught.value.param == "draft_model"


def test_options_that_do_not_go_together(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="needs a draft_model") as caught:
        Engine.open(config_of(tiny_model, speculation="model"))
    assert caught.value.param == "speculation"
    with Engine.open(config_of(tiny_model, tiny_model, speculation="off")) as engine:
        assert engine._speculation.draft_model is None
    [unused] = events(caplog, "draft_model_unused")
    assert unused["reason"] == "speculation=off"
