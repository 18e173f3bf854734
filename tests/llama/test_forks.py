"""Forked children: a clear error for objects of the parent, loads of their own as far as that works, and no harm to the parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.llama.programs import output_of

# `tried(call)` prints what a call raises in the child, `child(function)` runs it there.
COMMON = """
import asyncio, os, signal, sys, traceback, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)  # of fork, since Python 3.12
from llmcore import *
from llmcore.errors import ForkedError
from llmcore.messages import ChatPrompt, GenerateRequest, PrefixSpec, TokensPrompt
path = sys.argv[1]
CHAT = [{"role": "user", "content": "Hello"}]
HELLO = ChatPrompt(b'[{"role": "user", "content": "Hello"}]')

def told(call):
    try:
        call()
    except ForkedError as error:
        return error.code
    except BaseException as error:
        return repr(error)
    return "nothing"

def child(function):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(40)
        status = 1
        try:
            function()
            sys.stdout.flush()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0

def computed(model):
    context = Context(model, ContextParams(n_ctx=256, threads=2, threads_batch=2))
    batch = Batch(64)
    batch.add(0, 0, range(48), wants_logits=True)
    context.decode(batch)
    return context, batch
"""

HANDLES = (
    COMMON
    + """
model = Model(path)
context, batch = computed(model)
sampler = Sampler(model, SamplingParams(), n_ctx=64)
template = ChatTemplate(model, "{{ messages[0]['content'] }}")
engine = Engine.open(EngineConfig(model_path=path, n_ctx=256, n_slots=2, threads=2))
llm = LLM(path, n_ctx=256, threads=2)
stream = llm.generate([1, 2, 3], max_tokens=50, stream=True)
next(stream)
events = llm.generate([1, 2, 3], max_tokens=50, stream="events")
next(events)
request = GenerateRequest(request_id="a", prompt=TokensPrompt((1, 2)))
saved = path + ".saved"
llm.save([1, 2, 3], saved)
llm._local._lock.acquire()  # as a thread that the child lacks might hold it

def use():
    for call in [
        lambda: model.tokenize("a"), lambda: model.detokenize([1]), lambda: model.metadata, lambda: model.n_layer,
        lambda: model.token_bytes(3), lambda: model.chat_template, lambda: context.decode(batch), lambda: context.clear(),
        lambda: context.logits(47), lambda: context.save_state(0), lambda: sampler.sample(context, 47),
        lambda: sampler.accept([1]), lambda: template.render(HELLO), lambda: engine.step(),
        lambda: engine.submit(request), lambda: engine.read(request.prompt), lambda: engine.render(HELLO),
        lambda: engine.cancel("a"), lambda: engine.stats(), lambda: engine.inspect(), lambda: engine.prefixes.infos(),
        lambda: engine.prefixes.unpin("p"), lambda: engine.info(), lambda: engine.prefixes.read(request.prompt),
        lambda: engine.drop_cached_prefixes(), lambda: engine.refusals(),
        lambda: engine.prefixes.pin(PrefixSpec(name="p", prompt=request.prompt)),
        lambda: llm.generate([1], max_tokens=1), lambda: llm.generate([[1], [2]], max_tokens=1),
        lambda: llm.generate([1], n=2), lambda: llm.generate([1], stream=True), lambda: llm.detokenize([1]),
        lambda: next(events), lambda: next(events), lambda: events.completion, lambda: stream.completion,
        lambda: llm.rerank("a", ["b"]), lambda: sampler.prime([1]), lambda: sampler.reset(),
        lambda: llm.chat(CHAT), lambda: llm.chat([CHAT, CHAT]), lambda: llm.chat(CHAT, stream=True),
        lambda: llm.score([1], [[2]]), lambda: llm.perplexity([1, 2]), lambda: llm.beam_search([1], max_tokens=1),
        lambda: llm.render(CHAT), lambda: llm.pin("p", [1, 2]), lambda: llm.unpin("p"), lambda: llm.pins(),
        lambda: llm.save([1, 2], saved + ".other"), lambda: llm.load(saved), lambda: llm.stats(),
        lambda: llm.embed(["a"], pooling="none"), lambda: llm.embed(["a"], truncate=True),
        lambda: llm.generate([1], logits_processor=lambda tokens, logits: logits, max_tokens=1),
        lambda: llm.generate([1], prompt_logprobs=0, max_tokens=1), lambda: llm.generate([1], choice=["a"]),
        lambda: next(stream), lambda: llm.embed("a"), lambda: llm.tokenize("a"),
        lambda: Sampler(model, SamplingParams(), n_ctx=64), lambda: Context(model, ContextParams(n_ctx=64)),
        lambda: Model(path), lambda: LLM(path),
    ]:
        assert told(call) == "forked", told(call)
    for each in (events, stream, sampler, template, context, engine, llm, model):
        each.close()
    print("child well")

child(use)
llm._local._lock.release()
assert len("".join(stream)) > 0
context.clear()
context.decode(batch)
print("parent well")
"""
)

# Deeds of the parent before the fork, and whether the child can load.
LOADS = (
    COMMON
    + """
from llmcore.llama.quantization import quantize
before = sys.argv[2]
if before == "vocabulary":
    vocabulary = Model(path, vocab_only=True)
    vocabulary.tokenize("a")
elif before == "loaded":
    model = Model(path)
elif before == "computed":
    computed(Model(path))
elif before == "computed in a thread":
    import threading
    thread = threading.Thread(target=lambda: computed(Model(path)))
    thread.start()
    thread.join()
elif before == "quantized":
    quantize(path, sys.argv[3], "Q8_0", threads=2)

def load():
    if before == "vocabulary":
        assert told(lambda: vocabulary.tokenize("a")) == "forked"
    print(told(lambda: computed(Model(path))), told(lambda: Model(path, vocab_only=True).tokenize("a")))

child(load)
"""
)

MULTIPROCESSING = (
    COMMON
    + """
import multiprocessing
llm = LLM(path, n_ctx=256, threads=2)
llm.generate([1, 2], max_tokens=3)

def work(queue, is_fresh):
    try:
        queue.put(len((LLM(path, n_ctx=256, threads=2) if is_fresh else llm).generate([1, 2], max_tokens=3).text) > 0)
    except ForkedError as error:
        queue.put(error.message)

for is_fresh in (False, True):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue, is_fresh))
    process.start()
    print(queue.get())
    process.join(40)
    assert process.exitcode == 0
llm.generate([1, 2], max_tokens=3)
"""
)

ENGINE = (
    COMMON
    + """
async def main():
    async with AsyncEngine(EngineConfig(model_path=path, n_ctx=512, n_slots=2, threads=2), log_level="error") as engine:
        await engine.wait_ready()
        generation = await engine.generate(
            GenerateRequest(request_id="a", prompt=TokensPrompt((1, 2, 3)), max_tokens=200, ignore_eos=True))
        request = GenerateRequest(request_id="b", prompt=TokensPrompt((1, 2)))

        def use():
            asyncio.events._set_running_loop(None)
            async def inside():
                for call in (engine.start, engine.wait_ready, engine.stats, engine.inspect, engine.prefixes):
                    print(await told(call))
                print(await told(lambda: engine.generate(request)), await told(lambda: engine.tokenize("a")))
                print(await told(lambda: engine.embed(["a"])), await told(lambda: engine.cancel("a")))
                await engine.stop()
            async def told(call):
                try:
                    await call()
                except ForkedError as error:
                    return error.code
            loop = asyncio.new_event_loop()
            loop.run_until_complete(inside())
            loop.close()

        if sys.argv[2] == "used":
            child(use)
        else:
            pid = os.fork()
            if pid == 0:
                # The whole loop goes on in the child, and then its objects are collected.
                signal.alarm(40)
                try:
                    async for _ in generation:
                        pass
                except BaseException as error:
                    print(type(error).__name__, flush=True)
                os._exit(0)
            while os.waitpid(pid, os.WNOHANG)[0] == 0:
                await asyncio.sleep(0.05)
        n = 0
        async for output in generation:
            n += 1
        print(type(output).__name__, n > 1, engine.n_restarts)

asyncio.run(main())
"""
)

ASYNC_LLM = (
    COMMON
    + """
async def main():
    async with AsyncLLM(path, n_ctx=512, n_slots=2, threads=2, isolated=sys.argv[2] == "process") as llm:
        stream = llm.generate([1, 2, 3], max_tokens=200, ignore_eos=True, stream=True)
        await anext(stream)
        unread = llm.generate([1, 2, 3], max_tokens=20, stream="events")

        def use():
            asyncio.events._set_running_loop(None)
            async def inside():
                for call in (
                    lambda: llm.load(), lambda: llm.generate([1]), lambda: llm.generate([[1], [2]]), lambda: llm.chat(CHAT),
                    lambda: llm.tokenize("a"), lambda: llm.detokenize([1]), lambda: llm.embed("a"),
                    lambda: llm.rerank("a", ["b"]), lambda: llm.stats(), lambda: anext(unread), lambda: anext(stream),
                ):
                    print(await told(call))
                await llm.close()
            async def told(call):
                try:
                    await call()
                except ForkedError as error:
                    return error.code
                except BaseException as error:
                    return repr(error)
            loop = asyncio.new_event_loop()
            loop.run_until_complete(inside())
            loop.close()

        child(use)
        print(len([piece async for piece in stream]) > 0, (await stream.completion()).finish_reason)
        print((await llm.generate([1, 2], max_tokens=2)).finish_reason)

asyncio.run(main())
"""
)


def test_whatever_was_loaded_before_a_fork_raises_forked_error_in_the_child(tiny_model: Path) -> None:
    assert output_of(HANDLES, tiny_model) == "child well\nparent well\n"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("imported", "nothing nothing"),
        ("vocabulary", "nothing nothing"),
        ("loaded", "nothing nothing"),
        ("quantized", "nothing nothing"),
        ("computed", "forked nothing"),
        ("computed in a thread", "forked nothing"),
    ],
)
def test_a_child_loads_unless_its_parent_has_computed(
    tiny_model: Path, before: str, expected: str, tmp_path: Path
) -> None:
    assert output_of(LOADS, tiny_model, before, tmp_path / "quantized.gguf") == f"{expected}\n"


def test_multiprocessings_children_are_told_to_load_in_a_fresh_process(tiny_model: Path) -> None:
    told, fresh = output_of(MULTIPROCESSING, tiny_model).splitlines()
    assert told == "this LLM belongs to the process that this one was forked from: load after the fork"
    assert "spawn or forkserver" in fresh


def test_an_engines_child_process_is_not_a_forked_childs(tiny_model: Path) -> None:
    lines = output_of(ENGINE, tiny_model, "used").splitlines()
    assert set(" ".join(lines[:-1]).split()) == {"forked"}
    assert lines[-1] == "Finished True 0"


def test_a_loop_that_goes_on_in_a_forked_child_harms_no_engine(tiny_model: Path) -> None:
    # asyncio loops check the process themselves.
    assert output_of(ENGINE, tiny_model, "loop goes on").splitlines()[-1] == "Finished True 0"


@pytest.mark.parametrize("where", ["thread", "process"])
def test_an_async_llm_in_a_forked_child(tiny_model: Path, where: str) -> None:
    lines = output_of(ASYNC_LLM, tiny_model, where).splitlines()
    assert lines == ["forked"] * 11 + ["True length", "length"]
