"""Pinned prefixes: never evicted, bounded, kept in files, and computed at start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from llmcore.engine.engine import Engine
from llmcore.errors import ConfigError, ContextLengthError, InvalidRequestError, PrefixMissingError
from llmcore.messages import PrefixSpec, TokensPrompt
from tests.conftest import exact
from tests.engine.engine_requests import chat, pin, request, run
from tests.log_events import event_names


def test_a_pinned_prefix_survives_what_evicts_everything_else(tiny_model: Path) -> None:
    config = exact(tiny_model, n_ctx=512, n_slots=2, host_cache_bytes=0)
    prefix = tuple(range(300, 400))
    with Engine.open(config) as engine:
        assert pin(engine, "system", TokensPrompt(prefix)) == 100
        for i in range(6):
            run(engine, request(str(i), TokensPrompt(tuple(range(1000 * i + 1000, 1000 * i + 1300)))))
        follower = run(engine, request("a", TokensPrompt((*prefix, 7, 8))))["a"]
        assert follower.usage.n_cached == 100
        assert engine.stats().n_cells_pinned == 100
        engine.prefixes.unpin("system")
        assert engine.stats().n_cells_pinned == 0
        with pytest.raises(PrefixMissingError):
            engine.prefixes.unpin("system")


def test_pinned_messages_are_what_all_their_conversations_begin_with(engine: Engine) -> None:
    system = ("system", "The library opens at 9 in the morning and closes at 6.")
    n = pin(engine, "library", chat(system))
    answer = run(engine, request("a", chat(system, ("user", "When does the library open?"))))["a"]
    assert answer.usage.n_cached >= n > 10


def test_a_prefix_that_takes_too_much_is_refused_and_a_prompt_that_finds_no_room_too(tiny_engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="can be pinned"):
        tiny_engine.prefixes.pin(PrefixSpec(name="a", prompt=TokensPrompt(tuple(range(100, 700)))))
    assert tiny_engine.prefixes.infos() == []
    pin(tiny_engine, "a", TokensPrompt(tuple(range(100, 500))))
    with pytest.raises(ContextLengthError, match="pinned"):
        tiny_engine.submit(request("x", TokensPrompt(tuple(range(1000, 1700)))))
    room = run(tiny_engine, request("x", TokensPrompt(tuple(range(1000, 1620))), max_tokens=None, ignore_eos=True))["x"]
    assert (room.reason, room.usage.n_generated) == ("length", 4)


def test_prefixes_of_a_file_are_computed_at_start_and_found_warm_after_a_restart(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prefix = list(range(300, 400))
    file = tmp_path / "prefixes.json"
    file.write_bytes(msgspec.json.encode([{"name": "system", "prompt": prefix}]))
    config = exact(tiny_model, n_ctx=512, n_slots=2, prefix_file=str(file), prefix_dir=str(tmp_path / "kept"))
    asked = request("a", TokensPrompt((*prefix, 7, 8)), ignore_eos=True)
    texts = []
    for n_computed in (100, 1):
        with Engine.open(config) as engine:
            assert [info.is_computed for info in engine.prefixes.infos()] == [True]
            assert engine.stats().n_tokens_prefilled == n_computed
            answer = run(engine, asked)["a"]
            assert answer.usage.n_cached == 100
            texts.append(answer.text)
    [kept] = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    with Engine.open(config) as engine:
        assert engine.stats().n_tokens_prefilled == 100, "what is damaged is computed again"
        texts.append(run(engine, asked)["a"].text)
    assert texts[0] == texts[1] == texts[2]


def compute(engine: Engine, *specs: PrefixSpec) -> None:
    for spec in specs:
        engine.prefixes.pin(spec)
    while engine.has_work:
        engine.step()


def token_prefix(name: str, first: int, n: int = 40) -> PrefixSpec:
    return PrefixSpec(name=name, prompt=TokensPrompt(tuple(range(first, first + n))))


def test_files_of_prefixes_go_when_they_are_replaced_or_unpinned(tiny_model: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    def n_files() -> int:
        return len(list(kept.glob("*")))

    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=2, prefix_dir=str(kept))) as engine:
        compute(engine, token_prefix("a", 300))
        assert n_files() == 1
        for first in (310, 320, 330):
            compute(engine, token_prefix("a", first))
            assert n_files() == 1, "a prefix that is replaced leaves no file"
        compute(engine, token_prefix("b", 330))  # the same content under two names is one file
        assert n_files() == 1
        engine.prefixes.unpin("a")
        assert n_files() == 1
        engine.prefixes.pin(token_prefix("b", 340))
        assert n_files() == 1, "the old one is pinned until the new one is computed"
        compute(engine, token_prefix("c", 350))
        assert n_files() == 2
        engine.prefixes.unpin("b")
        engine.prefixes.unpin("c")
        assert n_files() == 0
        compute(engine, token_prefix("d", 360))
    with Engine.open(exact(tiny_model, n_ctx=512, n_slots=2, prefix_dir=str(kept))) as engine:
        assert n_files() == 1, "a restart finds what was pinned"
        compute(engine, token_prefix("d", 360))
        assert engine.stats().n_tokens_prefilled == 1
        assert n_files() == 1


def test_the_folder_of_prefixes_is_bounded(tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = tmp_path / "kept"
    config = exact(tiny_model, n_ctx=512, n_slots=2, prefix_dir=str(kept))
    with Engine.open(config) as engine:
        compute(engine, token_prefix("a", 300))
    n_bytes = sum(path.stat().st_size for path in kept.iterdir())
    with Engine.open(dataclasses.replace(config, prefix_dir_bytes=n_bytes + 1000)) as engine:
        compute(engine, token_prefix("b", 310))  # in place of what nobody has pinned
        (path,) = kept.iterdir()
        compute(engine, token_prefix("c", 320))
        assert list(kept.iterdir()) == [path]
        assert "prefix_not_kept" in event_names(caplog)
        assert [info.is_computed for info in engine.prefixes.infos()] == [True, True]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot read"),
        ('[{"name": "a/b", "prompt": "x"}]', "no name"),
        ('[{"name": "", "prompt": "x"}]', "no name"),
        ('[{"name": "a"}]', "either messages or prompt"),
        ('[{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}]', "not unique"),
        ('[{"name": "a", "prompt": "x", "colour": "red"}]', "colour"),
        ('[{"name": "a", "prompt": [999999999]}]', "vocabulary"),
    ],
)
def test_a_bad_prefix_file_is_refused_by_name(tiny_model: Path, tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "prefixes.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        Engine.open(exact(tiny_model, n_ctx=256, prefix_file=str(file)))
    assert caught.value.param == "prefix_file"
