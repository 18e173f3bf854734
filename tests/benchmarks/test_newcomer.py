"""The newcomer benchmark on the real service with a tiny model."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.load import Endpoint
from benchmarks.newcomer import Newcomers, NewcomerWait, lines
from benchmarks.prompts import Prompts
from benchmarks.servers import Ours, Setting
from llmcore.llama.model import Model


def test_newcomers_on_our_service(tiny_model: Path) -> None:
    setting = Setting(tiny_model, 1, 2, 300)
    with Model(tiny_model, vocab_only=True) as model, Ours(()).start(setting) as service:
        prompts = Prompts(model)
        endpoint = Endpoint(service.base_url, prompts.logit_bias)
        asyncio.run(endpoint.connect())
        short_s, long_s, visits = asyncio.run(Newcomers(endpoint, prompts, 200).measure([0.2, 0.7]))
    assert short_s > 0
    assert long_s > 0
    assert [each.at for each in visits] == [0.2, 0.7]
    assert all(each.short_s > 0 and each.long_s > 0 for each in visits)


def test_the_table_tells_times_and_ratios() -> None:
    head, _, _, _, row = lines(0.1, 10.0, [NewcomerWait(0.5, 0.8, 10.5)])
    assert head.endswith("alone: short 0.10 s, long 10.00 s.")
    assert row == "| 50% | 0.80 | 8.0 | 1.05 |"
