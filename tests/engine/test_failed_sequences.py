"""Sequences that cannot continue end alone."""

from __future__ import annotations

from llmcore.engine.engine import Engine
from llmcore.messages import Failed, Finished, PrefixSpec, TokensPrompt
from tests.engine.engine_requests import request


def test_a_prompt_fails_if_its_cells_are_pinned_before_it_starts(tiny_engine: Engine) -> None:
    tiny_engine.submit(request("x", TokensPrompt(tuple(range(1000, 1900))), max_tokens=100, ignore_eos=True))
    tiny_engine.prefixes.pin(PrefixSpec(name="a", prompt=TokensPrompt(tuple(range(100, 500)))))
    ends = []
    while tiny_engine.has_work:
        ends += [each for each in tiny_engine.step() if isinstance(each, (Finished, Failed))]
    assert [each.request_id for each in ends] == ["x"]
    assert isinstance(ends[0], Failed)
    assert ends[0].code == "context_length_exceeded"
    assert [info.is_computed for info in tiny_engine.prefixes.infos()] == [True]
