"""Prompts and their cells in files."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore import LLM
from llmcore.errors import ContextLengthError, InvalidRequestError, StateFileError
from llmcore.startup.state_file import StateHeader, packed

TALK = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": "Tell me of the sea and of all that lives in it."},
    {"role": "assistant", "content": "Fish, whales and weeds live in the sea."},
]
NEXT = [*TALK, {"role": "user", "content": "And on it?"}]


@pytest.fixture(scope="module")
def llm(default_model: Path) -> Iterator[LLM]:
    with LLM(default_model, n_ctx=512, n_slots=2, cache_type_k="f16", cache_type_v="f16") as loaded:
        yield loaded


def test_a_conversation_goes_on_in_another_process_without_being_computed_again(
    llm: LLM, default_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "talk.state"
    n = llm.save(TALK, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with LLM(default_model, n_ctx=512, n_slots=2, cache_type_k="f16", cache_type_v="f16") as other:
        assert other.load(path) == TALK
        before = other.stats().n_tokens_prefilled
        answer = other.chat(NEXT, max_tokens=4, temperature=0)
        assert answer.usage.n_cached >= n
        assert other.stats().n_tokens_prefilled - before == answer.usage.n_prompt - answer.usage.n_cached
        assert answer.text == llm.chat(NEXT, max_tokens=4, temperature=0).text


def test_texts_and_token_ids(llm: LLM, tmp_path: Path) -> None:
    for prompt in ("Once upon a time", list(range(100, 140))):
        n = llm.save(prompt, str(tmp_path / "p"))
        llm.engine.drop_cached_prefixes()  # type: ignore[union-attr]
        assert llm.load(bytes(tmp_path / "p")) == prompt
        assert llm.stats().n_cells_used == n
        assert llm.generate(prompt, max_tokens=1).usage.n_cached == n - 1


def test_a_prompt_that_is_a_part_of_what_is_cached(llm: LLM, tmp_path: Path) -> None:
    llm.generate(list(range(200, 260)), max_tokens=3)
    before = llm.stats().n_steps
    assert llm.save(list(range(200, 230)), tmp_path / "p") == 30
    assert llm.stats().n_steps == before


def test_damaged_and_foreign_files_change_nothing(llm: LLM, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "p"
    llm.save(list(range(100, 140)), path)
    whole = path.read_bytes()
    llm.engine.drop_cached_prefixes()  # type: ignore[union-attr]
    no_prompt = packed(StateHeader(llm.engine.states.fingerprint, [1, 2], b"?"), b"state")
    changed = bytearray(whole)
    changed[-20] ^= 1
    for data, said in (
        (b"", "no saved state"),
        (whole[:-1], "damaged"),
        (bytes(changed), "damaged"),
        (b"".join(no_prompt), "not saved by"),
    ):
        path.write_bytes(data)
        with pytest.raises(StateFileError, match=said) as caught:
            llm.load(path)
        assert caught.value.param == "path"
    path.write_bytes(whole)
    with LLM(tiny_model, n_ctx=512) as other, pytest.raises(StateFileError, match="another model"):
        other.load(path)
    assert llm.stats().n_cells_used == 0
    with pytest.raises(FileNotFoundError):
        llm.load(tmp_path / "none")


def test_a_prompt_that_does_not_fit(llm: LLM, default_model: Path, tmp_path: Path) -> None:
    llm.save(list(range(100, 500)), tmp_path / "p")
    with LLM(default_model, n_ctx=256, n_slots=2, cache_type_k="f16", cache_type_v="f16") as small:
        with pytest.raises(ContextLengthError, match="too few"):
            small.load(tmp_path / "p")
        assert small.stats().n_cells_used == 0


@pytest.mark.parametrize(
    ("prompt", "path", "param"), [(None, "p", "prompt"), ("a", 5, "path"), ("a", "", "path"), ("a", None, "path")]
)
def test_bad_arguments_are_named(llm: LLM, prompt: Any, path: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        llm.save(prompt, path)
    assert caught.value.param == param


def test_a_folder_that_is_missing_leaves_nothing(llm: LLM, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        llm.save("a b c", tmp_path / "none" / "p")
    assert list(tmp_path.iterdir()) == []
