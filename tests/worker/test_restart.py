"""What becomes of requests when the worker dies: ended, kept, or refused. The test plays the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    ModelLoadDiedError,
    PoisonousError,
    RequestCancelledError,
    RequestTimeoutError,
)
from llmcore.messages import Accepted, Finished, GenerateRequest, Piece, TextPrompt, Usage
from llmcore.protocol.commands import (
    CancelCommand,
    ConfigureCommand,
    EmbedCommand,
    InspectCommand,
    SubmitCommand,
    TokenizeCommand,
)
from llmcore.protocol.replies import InspectionReply, LoadFailedReply, LoadingReply, VectorsReply
from llmcore.worker import supervisor
from llmcore.worker.client import AsyncEngine
from llmcore.worker.generation import Generation
from tests.scripted_worker import ScriptedWorker, Stage, scripted_stage

USAGE = Usage(n_prompt=7, n_cached=0, n_generated=1, queue_s=0.0, prefill_s=0.0, decode_s=0.0)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    with scripted_stage(monkeypatch) as stage:
        yield stage


@pytest.fixture
async def engine(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    options: dict[str, Any] = getattr(request, "param", {})
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf", **options)) as started:
        yield started


@pytest.fixture
async def worker(stage: Stage, engine: AsyncEngine) -> ScriptedWorker:
    return await following(stage, engine)


def options(**given: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("engine", [given], indirect=True)


async def following(stage: Stage, engine: AsyncEngine) -> ScriptedWorker:
    return await stage.enter_ready(engine)


def ask(engine: AsyncEngine, name: str, text: str = "x", **details: Any) -> asyncio.Task[Generation]:
    return asyncio.create_task(
        engine.generate(GenerateRequest(request_id=name, prompt=TextPrompt(text or name), **details))
    )


async def accepted(engine: AsyncEngine, worker: ScriptedWorker, name: str, text: str = "x") -> Generation:
    asking = ask(engine, name, text)
    assert await worker.admit() == name
    return await asking


async def begun(engine: AsyncEngine, worker: ScriptedWorker, name: str, text: str = "x") -> Generation:
    generation = await accepted(engine, worker, name, text)
    worker.step(Piece(name, "1", 1))
    await anext(generation)
    return generation


async def died(engine: AsyncEngine, worker: ScriptedWorker, *served: str | int) -> None:
    """It dies while it works for some; until the client knows."""
    worker.heartbeat.set_step_ids(served)
    worker.die()
    while engine.state == "ready":
        await asyncio.sleep(0)


def finished(name: str) -> Finished:
    return Finished(name, "", "stop", USAGE)


async def read(generation: Generation) -> str:
    return "".join([output.text async for output in generation])


async def until_read(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """Until the client has read what the worker sent, and no other command came before."""
    inspecting = asyncio.create_task(engine.inspect())
    worker.send(InspectionReply((await worker.next(InspectCommand)).call_id, b"{}"))
    await inspecting


# --- Ended and kept ---------------------------------------------------------------------------------------------------


async def test_what_had_begun_ends_and_the_rest_is_run_by_the_next(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    running = await begun(engine, worker, "a")
    queued = await accepted(engine, worker, "b")
    asking = ask(engine, "c")
    await worker.next(SubmitCommand)
    await died(engine, worker, "a")
    with pytest.raises(EngineDiedError):
        await anext(running)
    late = ask(engine, "d")
    worker = await following(stage, engine)
    for name in ("b", "c", "d"):
        assert await worker.admit() == name
        worker.step(Piece(name, f"{name}!", 1), finished(name))
    assert await read(queued) == "b!", "and it is not told again that it was accepted"
    assert await read(await asking) == "c!"
    assert await read(await late) == "d!"
    assert engine.n_restarts == 1


async def test_kept_while_worker_after_worker_dies_in_loading(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    for _ in range(3):
        worker = await stage.enter()
        await worker.next(ConfigureCommand)
        worker.send(LoadingReply(0.5))
        worker.die()
    worker = await following(stage, engine)
    assert await worker.admit() == "a"
    worker.step(finished("a"))
    await read(queued)
    assert engine.n_restarts == 4


async def test_a_model_that_cannot_be_loaded_again_is_tried_again(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    worker = await stage.enter()
    worker.send(LoadFailedReply("insufficient_memory", "no memory"))
    worker.die()
    worker = await following(stage, engine)
    assert await worker.admit() == "a"
    await queued.aclose()


async def test_a_first_load_may_die_once(stage: Stage, engine: AsyncEngine) -> None:
    worker = await stage.enter()
    worker.die()
    await following(stage, engine)
    assert engine.state == "ready"


async def test_a_first_load_that_dies_twice_ends_everything_with_its_cause(stage: Stage, engine: AsyncEngine) -> None:
    waiting = asyncio.create_task(engine.wait_ready())
    (await stage.enter()).die()
    worker = await stage.enter()
    asking = ask(engine, "a")
    worker.heartbeat.set_cause("native code aborts: llama-vocab.cpp:1: something")
    worker.die()
    with pytest.raises(ModelLoadDiedError, match=r"2 times: native code aborts: llama-vocab\.cpp:1: something"):
        await waiting
    with pytest.raises(EngineUnavailableError, match="something"):
        await asking
    assert (engine.state, engine.n_restarts) == ("failed", 1)
    with pytest.raises(ModelLoadDiedError):
        await engine.wait_ready()


async def test_a_process_that_cannot_be_started_at_all_ends_everything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def child(*_: Any) -> Any:
        raise OSError("no more files")

    monkeypatch.setattr(supervisor, "WorkerProcess", child)
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf")) as engine:
        with pytest.raises(ModelLoadDiedError, match="OSError: no more files"):
            await asyncio.wait_for(engine.wait_ready(), 5)


async def test_each_death_is_logged_with_its_cause(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    for cause in ("an abort", "another", ""):
        worker.heartbeat.set_cause(cause)
        await died(engine, worker)
        worker = await following(stage, engine)
    causes = [each.__dict__["event_fields"]["cause"] for each in caplog.records if each.message == "worker_died"]
    assert causes == ["an abort", "another", "killed (SIGKILL), probably out of memory"]


async def test_a_kept_request_can_be_cancelled_or_left(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    first, second = await accepted(engine, worker, "a"), await accepted(engine, worker, "b")
    await died(engine, worker)
    third = ask(engine, "c")
    await asyncio.sleep(0)
    assert await engine.cancel("a")
    assert not await engine.cancel("a")
    with pytest.raises(RequestCancelledError):
        await anext(first)
    await second.aclose()
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert len(latencies) == 3
    worker = await following(stage, engine)
    await until_read(engine, worker)  # no Submit came before


async def test_who_has_left_is_not_run_again(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    generation = await accepted(engine, worker, "a")
    await generation.aclose()
    await worker.next(CancelCommand)
    await died(engine, worker)
    worker = await following(stage, engine)
    await until_read(engine, worker)


@options(n_waiting_max=2)
async def test_only_so_many_may_wait(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    queued = await accepted(engine, worker, "kept")
    await died(engine, worker)
    waiting = [ask(engine, name) for name in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailableError, match="2 requests wait"):
        await ask(engine, "c")
    worker = await following(stage, engine)
    for name in ("kept", "a", "b"):
        assert await worker.admit() == name
    for each in [queued, *[await task for task in waiting]]:
        await each.aclose()


@options(restart_wait_s=0.05)
async def test_nobody_waits_longer_than_the_option_says(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    with pytest.raises(EngineUnavailableError, match="did not come back within"):
        await anext(queued)
    with pytest.raises(EngineUnavailableError, match="did not come back within"):
        await ask(engine, "b")
    await until_read(engine, await following(stage, engine))


@options(restart_wait_s=0)
async def test_waiting_can_be_turned_off(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    with pytest.raises(EngineDiedError):
        await anext(queued)
    with pytest.raises(EngineUnavailableError, match="restarting"):
        await ask(engine, "b")
    await until_read(engine, await following(stage, engine))


async def test_a_requests_own_timeout_goes_on(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    await died(engine, worker)
    with pytest.raises(RequestTimeoutError, match=r"0\.05"):
        await ask(engine, "a", timeout_s=0.05)
    asking = ask(engine, "b", timeout_s=1000.0)
    await asyncio.sleep(0.02)
    worker = await following(stage, engine)
    submitted = (await worker.next(SubmitCommand)).request
    assert submitted.timeout_s is not None
    assert submitted.timeout_s < 999.99
    worker.step(Accepted("b", 1))
    await (await asking).aclose()


async def test_stop_ends_what_is_kept(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    await engine.stop()
    with pytest.raises(EngineUnavailableError, match="stopping"):
        await anext(queued)


async def test_pauses_grow(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(supervisor, "RESTART_PAUSE_FIRST_S", 0.1)
    monkeypatch.setattr("llmcore.worker.supervisor.asyncio.sleep", note)
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf", worker_silent_s=0)) as engine:
        worker = await following(stage, engine)
        for _ in range(9):
            worker.die()
            worker = await stage.enter()
    assert [each for each in pauses if each] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


async def test_a_process_that_cannot_be_started_is_tried_again(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError("no more files"), MemoryError()]

    def child(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return stage.child(*args)

    monkeypatch.setattr(supervisor, "WorkerProcess", child)
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    worker = await following(stage, engine)
    assert await worker.admit() == "a"
    await queued.aclose()
    assert engine.n_restarts == 3


# --- A heart that stands still ----------------------------------------------------------------------------------------


@options(worker_silent_s=0.2)
async def test_a_silent_worker_is_replaced(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    running, queued = await begun(engine, worker, "a"), await accepted(engine, worker, "b")
    worker.heartbeat.beat()  # loading is over, and this is the last one
    with pytest.raises(EngineDiedError):
        await anext(running)
    assert "worker_silent" in caplog.messages
    worker = await following(stage, engine)
    assert await worker.admit() == "b"
    await queued.aclose()


@options(worker_silent_s=0.1)
async def test_busy_is_not_silent(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """It has not said that loading is over, or that its step will be short; or it beats."""
    await asyncio.sleep(0.3)
    worker.heartbeat.beat(1000.0)
    await asyncio.sleep(0.3)
    for _ in range(30):
        worker.heartbeat.beat()
        await asyncio.sleep(0.01)
    assert engine.n_restarts == 0


# --- Poison -----------------------------------------------------------------------------------------------------------


async def test_what_died_twice_is_refused(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("first", "second"):
        generation = await begun(engine, worker, name, "secret poison")
        await died(engine, worker, name)
        with pytest.raises(EngineDiedError):
            await anext(generation)
        worker = await following(stage, engine)
    with caplog.at_level(logging.ERROR), pytest.raises(PoisonousError) as caught:
        await ask(engine, "third", "secret poison")
    assert caught.value.code == "request_poisonous"
    [line] = [each for each in caplog.records if each.message == "request_poisonous"]
    assert "secret" not in repr(line.__dict__)
    await (await accepted(engine, worker, "other", "harmless")).aclose()


async def test_a_kept_request_that_kills_twice_is_refused(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    """It dies in its prompt: nobody has seen a part of its answer, so it is run again, once."""
    generation = await accepted(engine, worker, "a", "poison")
    await died(engine, worker, "a")
    worker = await following(stage, engine)
    await worker.admit()
    await died(engine, worker, "a")
    worker = await following(stage, engine)
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
        worker = await following(stage, engine)
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
        worker = await following(stage, engine)
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
    worker = await following(stage, engine)
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
        worker = await following(stage, engine)
    await begun(engine, worker, "good3", "good")
    with pytest.raises(EngineUnavailableError, match="one at a time"):
        await ask(engine, "bad3", "bad")


async def test_a_poisonous_embedding(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    embedding = asyncio.create_task(engine.embed(["poison"]))
    for _ in range(2):
        await died(engine, worker, (await worker.next(EmbedCommand)).call_id)
        worker = await following(stage, engine)
    with pytest.raises(PoisonousError):
        await embedding
    with pytest.raises(PoisonousError):
        await engine.embed(["poison"])


async def test_a_poisonous_text_to_tokenize(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    for _ in range(2):
        asking = asyncio.create_task(engine.tokenize("poison"))
        await died(engine, worker, (await worker.next(TokenizeCommand)).call_id)
        with pytest.raises(EngineDiedError):
            await asking
        worker = await following(stage, engine)
    with pytest.raises(PoisonousError):
        await engine.tokenize("poison")


async def test_embeddings_of_which_one_kills(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """Both are in the pass at both deaths; then they are computed one at a time."""
    good, bad = (asyncio.create_task(engine.embed([text])) for text in ("good", "bad"))
    for _ in range(2):
        ids = [(await worker.next(EmbedCommand)).call_id, (await worker.next(EmbedCommand)).call_id]
        late = asyncio.create_task(engine.embed(["late"]))
        ids.append((await worker.next(EmbedCommand)).call_id)
        late.cancel()
        await died(engine, worker, *ids)
        worker = await following(stage, engine)
    asked = await worker.next(EmbedCommand)
    assert asked.texts == ("good",)
    worker.send(VectorsReply(asked.call_id, b"1234", 1, 1))
    assert (await good).data == b"1234"
    asked = await worker.next(EmbedCommand)
    assert asked.texts == ("bad",)
    await died(engine, worker, asked.call_id)
    await following(stage, engine)
    with pytest.raises(PoisonousError):
        await bad


@options(n_waiting_max=1, restart_wait_s=0.2)
async def test_few_embeddings_wait_and_not_for_ever(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    await died(engine, worker)
    first = asyncio.create_task(engine.embed(["a"]))
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailableError, match="restarting"):
        await engine.embed(["b"])
    with pytest.raises(EngineUnavailableError, match="did not come back"):
        await first
