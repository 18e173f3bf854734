"""Cells out of an engine's cache and back."""

from __future__ import annotations

from pathlib import Path

from llmcore.engine.engine import Engine
from llmcore.messages import TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import request, run

TOKENS = list(range(100, 140))


def test_another_engine_continues_from_a_state(tiny_engine: Engine, tiny_model: Path) -> None:
    prompt = TokensPrompt((*TOKENS, 7, 8, 9))
    assert tiny_engine.states.save(TOKENS) is None
    whole = run(tiny_engine, request("a", prompt))["a"]
    state = tiny_engine.states.save(TOKENS)  # a part of a longer sequence
    assert state is not None
    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=2)) as other:
        assert other.states.fingerprint == tiny_engine.states.fingerprint
        assert other.states.load(TOKENS, state)
        assert other.states.load(TOKENS, state), "it is there already"
        assert other.stats().n_cells_used == len(TOKENS)
        again = run(other, request("a", prompt))["a"]
        assert (again.usage.n_cached, again.text) == (len(TOKENS), whole.text)


def test_a_state_of_a_memory_that_cannot_be_cut(tiny_recurrent: Path) -> None:
    with Engine.open(exact(tiny_recurrent, n_ctx=512, n_slots=2)) as one:
        run(one, request("a", TokensPrompt(tuple(TOKENS)), max_tokens=1))
        state = one.states.save(TOKENS)
        assert state is not None
        whole = run(one, request("b", TokensPrompt((*TOKENS, 7))))["b"]
    with Engine.open(exact(tiny_recurrent, n_ctx=512, n_slots=2)) as other:
        assert other.states.load(TOKENS, state)
        again = run(other, request("b", TokensPrompt((*TOKENS, 7))))["b"]
        assert (again.usage.n_cached, again.text) == (len(TOKENS), whole.text)


def test_without_room_nothing_changes(tiny_engine: Engine, tiny_model: Path) -> None:
    run(tiny_engine, request("a", TokensPrompt(tuple(range(100, 500))), max_tokens=1))
    state = tiny_engine.states.save(list(range(100, 500)))
    assert state is not None
    with Engine.open(exact(tiny_model, n_ctx=256, n_slots=2)) as small:
        run(small, request("a", TokensPrompt(tuple(TOKENS)), max_tokens=1))
        n_before = small.stats().n_cells_used
        assert not small.states.load(list(range(100, 500)), state)
        assert small.stats().n_cells_used == n_before


def test_the_fingerprint_tells_types_of_cells_apart(tiny_engine: Engine, tiny_model: Path) -> None:
    with Engine.open(exact(tiny_model, n_ctx=256, cache_type_k="f16", cache_type_v="f16")) as other:
        assert other.states.fingerprint != tiny_engine.states.fingerprint
