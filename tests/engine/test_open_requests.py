"""How requests end: by deadline, by cancel, and with nothing left behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError
from llmcore.messages import Finished, Piece, TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import STORY, request, run


def test_a_request_id_in_use_is_refused(engine: Engine) -> None:
    engine.submit(request("a", STORY))
    with pytest.raises(InvalidRequestError, match="in use"):
        engine.submit(request("a", STORY))


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_cancel_in_any_phase_frees_the_slot_and_leaves_others_alone(tiny_engine: Engine, steps: int) -> None:
    engine, stays = tiny_engine, TokensPrompt(tuple(range(300, 340)))
    expected = run(engine, request("x", stays, ignore_eos=True))["x"].text
    engine.drop_cached_prefixes()
    engine.submit(request("gone", TokensPrompt(tuple(range(1000, 1700))), max_tokens=100, ignore_eos=True))
    engine.submit(request("stays", stays, ignore_eos=True))
    text = ""
    for _ in range(steps):
        for output in engine.step():
            text += output.text if output.request_id == "stays" and isinstance(output, (Piece, Finished)) else ""
    finished = engine.cancel("gone")
    assert finished is not None
    assert finished.reason == "cancelled"
    assert engine.cancel("gone") is None
    while engine.has_work:
        for output in engine.step():
            assert output.request_id == "stays"
            text += output.text if isinstance(output, (Piece, Finished)) else ""
    assert text == expected
    assert engine.stats().n_cancelled == 1


def test_a_thousand_cancels_leave_nothing_behind(tiny_model: Path) -> None:
    chance = random.Random(1)
    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=4, n_waiting_max=16)) as engine:
        alive: list[str] = []
        cancelled = finished = 0
        while cancelled < 1000:
            if len(alive) < 12 and chance.random() < 0.6:
                name = f"r{cancelled + finished + len(alive)}-{chance.random()}"
                tokens = tuple(chance.randrange(100, 110) for _ in range(chance.randrange(1, 120)))
                engine.submit(request(name, TokensPrompt(tokens), max_tokens=20, ignore_eos=True))
                alive.append(name)
            if alive and chance.random() < 0.5:
                assert engine.cancel(alive.pop(chance.randrange(len(alive)))) is not None
                cancelled += 1
            for output in engine.step():
                if isinstance(output, Finished):
                    alive.remove(output.request_id)
                    finished += 1
        for name in alive:
            engine.cancel(name)
        stats = engine.stats()
        assert finished > 100
        assert (stats.n_running, stats.n_waiting) == (0, 0)
        assert engine._cache.n_cells_held == 0
        assert not len(engine._requests)


def test_a_deadline_ends_an_answer_in_any_phase(tiny_engine: Engine) -> None:
    tokens = tuple(range(300, 320))
    tiny_engine.submit(request("late", TokensPrompt(tokens), max_tokens=1000, ignore_eos=True, timeout_s=1e-9))
    [finished] = tiny_engine.step()
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.n_generated) == ("timeout", 0)
    assert not tiny_engine.has_work
    tiny_engine.submit(request("b", TokensPrompt(tokens), max_tokens=1000, ignore_eos=True, timeout_s=0.05))
    done = [each for _ in range(100_000) for each in tiny_engine.step() if isinstance(each, Finished)][:1]
    assert [each.reason for each in done] in (["timeout"], ["length"])
    with pytest.raises(InvalidRequestError, match="timeout_s"):
        tiny_engine.submit(request("c", TokensPrompt(tokens), timeout_s=0.0))
