"""Which requests may have ended a process: by what they ask, at which ends, and for how long."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec import structs

from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    PoisonousError,
)
from llmcore.messages import (
    GenerateRequest,
    Piece,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import (
    CancelCommand,
    EmbedCommand,
    TokenizeCommand,
)
from llmcore.sampling import SamplingParams
from llmcore.worker import quarantine as quarantine_module
from llmcore.worker.client import AsyncEngine
from llmcore.worker.quarantine import REMEMBERED_S, Quarantine, digest
from tests.log_events import name_of
from tests.scripted_worker import ScriptedWorker, Stage
from tests.worker.conversation import accepted, ask, begun, died, finished, next_worker, options, read, until_read

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


# --- Through the client -----------------------------------------------------------------------------------------------


async def test_what_died_twice_is_refused(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("first", "second"):
        generation = await begun(engine, worker, name, "secret poison")
        await died(engine, worker, name)
        with pytest.raises(EngineDiedError):
            await anext(generation)
        worker = await next_worker(stage, engine)
    with caplog.at_level(logging.ERROR), pytest.raises(PoisonousError) as caught:
        await ask(engine, "third", "secret poison")
    assert caught.value.code == "request_poisonous"
    [line] = [each for each in caplog.records if name_of(each) == "request_poisonous"]
    assert "secret" not in repr(line.__dict__)
    await (await accepted(engine, worker, "other", "harmless")).aclose()


async def test_a_kept_request_that_kills_twice_is_refused(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    """It dies in its prompt: nobody has seen a part of its answer, so it is run again, once."""
    generation = await accepted(engine, worker, "a", "poison")
    await died(engine, worker, "a")
    worker = await next_worker(stage, engine)
    await worker.admit()
    await died(engine, worker, "a")
    worker = await next_worker(stage, engine)
    with pytest.raises(PoisonousError):
        await anext(generation)
    await until_read(engine, worker)


async def test_who_was_not_in_the_step_is_not_suspected(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    for name in ("a", "b"):
        generation = await begun(engine, worker, name, "listener")
        await died(engine, worker, "somebody else")
        with pytest.raises(EngineDiedError):
            await anext(generation)
        worker = await next_worker(stage, engine)
    await begun(engine, worker, "c", "listener")


async def test_bystanders_run_one_at_a_time_and_are_acquitted(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    """Two requests were in the step at both deaths; only one of them is to blame."""
    for turn in ("1", "2"):
        both = [await begun(engine, worker, f"{text}{turn}", text) for text in ("good", "bad")]
        await died(engine, worker, f"good{turn}", f"bad{turn}")
        for each in both:
            with pytest.raises(EngineDiedError):
                await anext(each)
        worker = await next_worker(stage, engine)
    good = ask(engine, "good3", "good")
    await asyncio.sleep(0)
    bad = ask(engine, "bad3", "bad")
    assert await worker.admit() == "good3"
    await (await accepted(engine, worker, "other", "harmless")).aclose()  # nobody else waits
    await worker.next(CancelCommand)
    worker.step(finished("good3"))
    await read(await good)
    assert await worker.admit() == "bad3", "it was kept until the other one had finished"
    worker.step(Piece("bad3", "x", 1))
    await anext(await bad)
    await died(engine, worker, "bad3")
    worker = await next_worker(stage, engine)
    with pytest.raises(PoisonousError):
        await ask(engine, "bad4", "bad")
    await begun(engine, worker, "good4", "good")


@options(restart_wait_s=0.3)
async def test_a_doubtful_request_does_not_wait_for_ever(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    for turn in ("1", "2"):
        for text in ("good", "bad"):
            await begun(engine, worker, f"{text}{turn}", text)
        await died(engine, worker, f"good{turn}", f"bad{turn}")
        worker = await next_worker(stage, engine)
    await begun(engine, worker, "good3", "good")
    with pytest.raises(EngineUnavailableError, match="one at a time"):
        await ask(engine, "bad3", "bad")


async def test_a_poisonous_text_to_tokenize(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    for _ in range(2):
        asking = asyncio.create_task(engine.tokenize("poison"))
        await died(engine, worker, (await worker.next(TokenizeCommand)).call_id)
        with pytest.raises(EngineDiedError):
            await asking
        worker = await next_worker(stage, engine)
    with pytest.raises(PoisonousError):
        await engine.tokenize("poison")
