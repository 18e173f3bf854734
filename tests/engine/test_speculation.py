"""Drafters of an engine: which ones are on, what is told of them, and what a drafter's failure changes."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import ContextLengthError
from llmcore.messages import GenerateRequest
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft
from tests.conftest import exact
from tests.engine.engine_requests import STORY, request, run
from tests.engine.scripted_drafter import ScriptedDrafter, buy_all, drafting
from tests.log_events import events


@pytest.mark.parametrize(
    ("mode", "names"), [("auto", ["text", "prediction"]), ("text", ["text", "prediction"]), ("off", [])]
)
def test_the_drafters_of_a_mode_are_told(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, mode: str, names: list[str]
) -> None:
    caplog.set_level(logging.INFO, "llmcore")
    with Engine.open(exact(tiny_model, n_ctx=256, speculation=mode)) as engine:
        told = msgspec.json.decode(engine.inspect())["speculation"]
        stats = engine.stats()
    assert told["drafters"] == names
    assert told["off_because"] == ("" if names else "speculation=off")
    assert told["drafted"] == told["accepted"] == stats.drafted == stats.accepted == dict.fromkeys(names, 0)
    drafters = ",".join(names) or "none"
    assert [each["drafters"] for each in events(caplog, "speculation")] == [drafters]


def test_a_memory_that_cannot_be_cut_has_no_drafts(tiny_recurrent: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "llmcore")
    with Engine.open(EngineConfig(model_path=str(tiny_recurrent), n_ctx=256, self_check="off")) as engine:
        assert msgspec.json.decode(engine.inspect())["speculation"]["drafters"] == []
        assert run(engine, request("a", "word " * 20, ignore_eos=True))["a"].usage.n_generated == 24
    [told] = events(caplog, "speculation")
    assert (told["drafters"], "cannot go back" in told["reason"]) == ("none", True)


def predicted(name: str, text: str, **details: object) -> GenerateRequest:
    return request(name, STORY, prediction=text, ignore_eos=True, max_tokens=40, **details)


def test_a_prediction_is_drafted_and_counted(default_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buy_all(monkeypatch)
    with Engine.open(EngineConfig(model_path=str(default_model), n_ctx=1024, self_check="off")) as engine:
        plain = run(engine, request("plain", STORY, ignore_eos=True, max_tokens=40, speculation="off"))["plain"]
        assert plain.usage.n_steps == plain.usage.n_generated == 40
        assert engine.stats().drafted["prediction"] == 0
        right = run(engine, predicted("right", plain.text))["right"]
        wrong = run(engine, predicted("wrong", "Quite another answer, of which no word comes."))["wrong"]
        off = run(engine, predicted("off", plain.text, speculation="off"))["off"]
        stats = engine.stats()
    assert right.tokens == wrong.tokens == off.tokens == plain.tokens
    assert right.usage.n_prediction_accepted > 20
    assert right.usage.n_steps < 20
    assert (wrong.usage.n_prediction_accepted, wrong.usage.n_prediction_rejected > 0) == (0, True)
    assert (off.usage.n_steps, off.usage.n_prediction_accepted, off.usage.n_prediction_rejected) == (40, 0, 0)
    accepted = right.usage.n_prediction_accepted + wrong.usage.n_prediction_accepted
    rejected = right.usage.n_prediction_rejected + wrong.usage.n_prediction_rejected
    assert (stats.accepted["prediction"], stats.drafted["prediction"]) == (accepted, accepted + rejected)


def test_an_answer_is_the_draft_of_the_next_one_until_it_is_dropped(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was cancelled, for its caller has said more; but not one whose cells are not to stay."""
    buy_all(monkeypatch)
    asked = {"ignore_eos": True, "max_tokens": 40}
    [plain] = run(tiny_engine, request("plain", STORY, **asked, speculation="off", keeps_prefix=False)).values()

    def n_steps() -> int:
        [again] = run(tiny_engine, request("again", STORY, **asked, keeps_prefix=False)).values()
        assert again.tokens == plain.tokens
        return again.usage.n_steps

    alone = n_steps()
    tiny_engine.submit(request("cancelled", STORY, **asked))
    while tiny_engine.stats().n_running == 0 or tiny_engine._scheduler.running[0].n_generated < 30:
        tiny_engine.step()
    tiny_engine.cancel("cancelled")
    assert n_steps() < alone / 2
    tiny_engine.drop_cached_prefixes()
    assert n_steps() == alone


def test_a_prediction_is_bounded_like_a_prompt(tiny_engine: Engine) -> None:
    for text in ("word " * 2000, "x" * 5_000_000):
        with pytest.raises(ContextLengthError, match="the prediction has") as caught:
            tiny_engine.submit(predicted("long", text))
        assert caught.value.param == "prediction"
    assert not tiny_engine.has_work


class FailingDrafter(ScriptedDrafter):
    """Fails at its third proposal."""

    n_left = 2

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        self.n_left -= 1
        if self.n_left < 0:
            raise ValueError("it is broken")
        return super().propose(sequence, n_max)


def test_a_drafter_that_fails_is_switched_off(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = request("a", STORY, ignore_eos=True)
    with Engine.open(exact(tiny_model, n_ctx=256, speculation="off")) as engine:
        expected = run(engine, asked)["a"]
        drafter = FailingDrafter(engine.model.n_vocab)
    drafter.answers = {"a": expected.tokens}
    with drafting(exact(tiny_model, n_ctx=256), drafter) as engine:
        assert run(engine, asked)["a"].tokens == expected.tokens
        assert run(engine, request("b", STORY, ignore_eos=True))["b"].tokens == expected.tokens
        assert msgspec.json.decode(engine.inspect())["speculation"]["drafters"] == []
    assert [each["drafter"] for each in events(caplog, "drafter_failed")] == ["text"]
    assert drafter.n_left == -1
