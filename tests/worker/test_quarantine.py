"""Who may have killed a process: by what was asked, at which deaths, and for how long."""

from __future__ import annotations

import pytest
from msgspec import structs

from llmcore.errors import PoisonousError
from llmcore.messages import GenerateRequest, Regex, TextPrompt
from llmcore.protocol.commands import EmbedCommand
from llmcore.sampling import SamplingParams
from llmcore.worker import quarantine as quarantine_module
from llmcore.worker.quarantine import REMEMBERED_S, Quarantine, digest

A, B, C = b"a", b"b", b"c"
ASKED = GenerateRequest(request_id="1", prompt=TextPrompt("x"), sampling=SamplingParams(logit_bias={1: 2.0, 3: 4.0}))


def test_a_request_is_known_by_what_it_asks() -> None:
    sampling = SamplingParams(logit_bias={3: 4.0, 1: 2.0}, seed=5)
    again = structs.replace(ASKED, request_id="2", sampling=sampling, priority="low", timeout_s=1.0)
    again = structs.replace(again, holder="ann", group="cmpl-1")
    assert digest(again) == digest(ASKED)
    others = [
        structs.replace(ASKED, prompt=TextPrompt("y")),
        structs.replace(ASKED, constraint=Regex("x")),
        structs.replace(ASKED, max_tokens=5),
        structs.replace(ASKED, sampling=SamplingParams()),
    ]
    assert len({digest(ASKED), *map(digest, others)}) == 5
    assert digest(EmbedCommand(1, ("a",))) == digest(EmbedCommand(2, ("a",)))
    assert digest(EmbedCommand(1, ("a",))) != digest(EmbedCommand(1, ("b",)))


def test_two_deaths_are_poisonous() -> None:
    quarantine = Quarantine()
    assert not quarantine
    quarantine.record_exit([A, B], 0.0)
    assert quarantine
    assert quarantine.verdict(A, 1.0) == "free"
    quarantine.record_exit([A, A, C], 2.0)
    assert quarantine.verdict(A, 3.0) == "poisonous"
    assert (quarantine.verdict(B, 3.0), quarantine.verdict(C, 3.0)) == ("free", "free")
    with pytest.raises(PoisonousError):
        quarantine.check(A, 3.0)
    assert quarantine.check(B, 3.0) == "free"


def test_bystanders_are_doubtful_until_the_next_death_names_the_one() -> None:
    quarantine = Quarantine()
    for now_s in (0.0, 1.0):
        quarantine.record_exit([A, B, C], now_s)
    assert {quarantine.check(each, 2.0) for each in (A, B, C)} == {"doubtful"}
    quarantine.clear(B)
    assert quarantine.verdict(B, 2.0) == "free"
    quarantine.record_exit([A, B], 3.0)
    assert [quarantine.verdict(each, 4.0) for each in (A, B, C)] == ["poisonous", "free", "doubtful"]


def test_everything_is_forgotten() -> None:
    quarantine = Quarantine()
    quarantine.record_exit([A], 0.0)
    quarantine.record_exit([A, B], 10.0)
    assert quarantine.verdict(A, 10.0 + REMEMBERED_S) == "poisonous"
    assert quarantine.verdict(A, 11.0 + REMEMBERED_S) == "free"
    assert not quarantine


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_module, "N_REMEMBERED", 10)
    quarantine = Quarantine()
    for _ in range(2):
        quarantine.record_exit([A], 0.0)
    for i in range(20):
        quarantine.record_exit([bytes([i])], 1.0)
    assert quarantine.verdict(A, 1.0) == "free"
