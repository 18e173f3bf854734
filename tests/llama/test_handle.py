"""close() under use: never a crash, whoever closes what, in whatever order."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from llmcore import Batch, ChatTemplate, Context, ContextParams, Model, Sampler, SamplingParams
from llmcore.errors import ClosedError
from llmcore.llama.chat import ChatParser
from llmcore.llama.handle import Handle, HandleOwner
from llmcore.llama.sampler import sample_rows
from llmcore.messages import ChatPrompt
from tests.llama.programs import output_of

HELLO = ChatPrompt(b'[{"role": "user", "content": "Hello"}]')
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"

# Threads call one thing each, over and over, while the object is closed: each must end with ClosedError, at once and only so.
HAMMER = """
import sys, threading
from llmcore import *
from llmcore.errors import ClosedError, LlmcoreError
from llmcore.messages import ChatPrompt

HELLO = ChatPrompt(b'[{"role": "user", "content": "Hello"}]')
path, case = sys.argv[1:3]
sys.setswitchinterval(1e-5)

def hammer(calls, close):
    started, odd = threading.Barrier(len(calls) + 1), []
    def use(call):
        started.wait()
        try:
            while True:
                call()
        except ClosedError:
            pass
        except BaseException as error:
            odd.append(repr(error))
    threads = [threading.Thread(target=use, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    started.wait()
    threading.Event().wait(0.002)
    close()
    for thread in threads:
        thread.join()
    assert not odd, odd

def of_model(model):
    text = "the quick brown fox " * 200
    tokens = list(range(100, 300)) * 20
    return [
        lambda: model.tokenize(text), lambda: model.tokenize(text), lambda: model.detokenize(tokens),
        lambda: model.detokenize_bytes(tokens), lambda: model.token_bytes(200), lambda: model.metadata,
        lambda: model.chat_template, lambda: model.description, lambda: model.is_end(3), lambda: model.infill,
        lambda: (model.bos, model.eos, model.sep, model.adds_bos, model.adds_eos, model.adds_sep),
        lambda: (model.n_params, model.size_bytes, model.n_ctx_train, model.n_embd, model.n_layer, model.n_head_kv),
        lambda: (model.has_encoder, model.has_decoder, model.is_recurrent, model.is_hybrid, model.rerank_template),
        lambda: model.tokenizer_addresses,
    ]

def batch():
    made = Batch(64)
    made.add(0, 0, range(48), wants_logits=True)
    return made

def context_of(model):
    return Context(model, ContextParams(n_ctx=256, n_slots=2, threads=2, threads_batch=2))

def of_context(context):
    b = batch()
    def step():
        context.clear()
        context.decode(b)
    return step

def reads(context):
    def read():
        context.logits(47)
        context.memory_used()
        context.span(0)
        context.load_state(1, context.save_state(0))
        context.copy(0, 1)
        context.remove(1)
    return read

for _ in range(int(sys.argv[3])):
    if case == "model":
        model = Model(path, vocab_only=True)
        hammer(of_model(model), model.close)
    elif case in ("context", "context, by its model"):
        model = Model(path)
        context = context_of(model)
        hammer([of_context(context)], (context if case == "context" else model).close)
        context.close()
        model.close()
    elif case == "reads":
        model = Model(path)
        context = context_of(model)
        context.decode(batch())
        hammer([reads(context)], context.close)
        model.close()
    elif case in ("sampler", "sampler, by its model", "sampler, by its context"):
        model = Model(path)
        context = context_of(model)
        context.decode(batch())
        sampler = Sampler(model, SamplingParams(temperature=1.0, dry_multiplier=0.5), n_ctx=256)
        def draw():
            sampler.sample(context, 47)
            sampler.accept([5])
            sampler.prime([7] * 100)
            sampler.reset()
        owner = {"sampler": sampler, "sampler, by its model": model, "sampler, by its context": context}[case]
        hammer([draw], owner.close)
    elif case in ("template", "template, by its model"):
        model = Model(path, vocab_only=True)
        template = ChatTemplate(model, "{% for m in messages %}{{ m['content'] }}{% endfor %}")
        hammer([lambda: template.render(HELLO), template.describe], (template if case == "template" else model).close)
    elif case == "engine":
        engine = Engine.open(EngineConfig(model_path=path, n_ctx=512, n_slots=4, threads=2))
        def serve():
            from llmcore.messages import GenerateRequest, TokensPrompt
            engine.submit(GenerateRequest(request_id="a", prompt=TokensPrompt(tuple(range(200))), max_tokens=20))
            while engine.has_work:
                engine.step()
        hammer([serve], engine.close)
    elif case == "llm":
        llm = LLM(path, n_ctx=512, n_slots=4, threads=2)
        def stream():
            for _ in llm.generate(list(range(50)), max_tokens=20, stream=True):
                pass
        hammer([stream, stream, lambda: llm.generate(list(range(60)), max_tokens=4), lambda: llm.tokenize("a b c d")],
               llm.close)
    elif case == "embedding":
        llm = LLM(path, threads=2)
        hammer([lambda: llm.embed(["some words", "other words"]), lambda: llm.embed("a word")], llm.close)
print("well")
"""
CASES = [
    *(
        "model",
        "context",
        "context, by its model",
        "reads",
        "sampler",
        "sampler, by its model",
        "sampler, by its context",
    ),
    *("template", "template, by its model", "engine", "llm"),
]


@pytest.mark.parametrize("case", CASES)
def test_closing_ends_calls_in_other_threads_with_closed_error(tiny_model: Path, case: str) -> None:
    n = 2 if case in ("engine", "llm") else 6
    assert output_of(HAMMER, tiny_model, case, n) == "well\n"


def test_closing_ends_embedding_in_other_threads_with_closed_error(tiny_bert: Path) -> None:
    assert output_of(HAMMER, tiny_bert, "embedding", 2) == "well\n"


# --- Parents and children -------------------------------------------------------------------------------------------------


def decoded(model: Model) -> Context:
    context = Context(model, ContextParams(n_ctx=64))
    batch = Batch(8)
    batch.add(0, 0, [1, 2, 3], wants_logits=True)
    context.decode(batch)
    return context


def test_after_a_model_is_closed_what_was_made_from_it_raises_closed_error(tiny_model: Path) -> None:
    model = Model(tiny_model)
    context = decoded(model)
    sampler = Sampler(model, SamplingParams(), n_ctx=64)
    template = ChatTemplate(model, TEMPLATE)
    model.close()
    with pytest.raises(ClosedError, match=r"the context cannot be used: the model .* is closed"):
        context.logits(2)
    with pytest.raises(ClosedError, match="the model"):
        context.clear()
    with pytest.raises(ClosedError, match="the sampler cannot be used"):
        sampler.accept([1])
    with pytest.raises(ClosedError, match="cannot be used"):
        sample_rows(context, [sampler], [2])
    with pytest.raises(ClosedError, match="the chat template cannot be used"):
        template.render(HELLO)
    for each in (context, sampler, template):
        each.close()
    with pytest.raises(ClosedError, match="the context is closed"):
        context.logits(2)


def test_nothing_is_made_from_a_closed_model(tiny_model: Path) -> None:
    model = Model(tiny_model)
    model.close()
    for make in (
        lambda: Context(model, ContextParams(n_ctx=64)),
        lambda: Sampler(model, SamplingParams(), n_ctx=64),
        lambda: ChatTemplate(model, TEMPLATE),
    ):
        with pytest.raises(ClosedError, match="is closed"):
            make()


def test_a_parsers_use_after_close_is_a_closed_error(pulled_model: Path, llama_cpp: Path) -> None:
    source = (llama_cpp / "models/templates/Qwen-Qwen3-0.6B.jinja").read_text("utf-8")
    with Model(pulled_model, vocab_only=True) as model, ChatTemplate(model, source) as template:
        parser = ChatParser(template.render(HELLO).syntax)
    assert parser.parse("text", is_partial=False).content == "text"
    parser.close()
    with pytest.raises(ClosedError, match="the chat parser is closed"):
        parser.parse("text", is_partial=True)


class Noted(HandleOwner):
    """An owner of a made-up native object, whose end is noted."""

    def __init__(self, name: str, ends: list[str], parent: Noted | None = None) -> None:
        self._name = name
        self._create_handle(id(self), lambda *_: ends.append(name), parent=parent)


def test_memory_goes_with_the_last_call_and_the_last_child() -> None:
    ends: list[str] = []
    model = Noted("model", ends)
    context = Noted("context", ends, model)
    in_call = context.handle
    context.close()
    model.close()
    assert ends == []
    del in_call
    assert ends == ["context", "model"]


def test_whatever_order_the_garbage_collector_takes_children_go_first() -> None:
    ends: list[str] = []

    class TokenConstraint:
        pass

    class Last:
        """Uses the child in its finalizer, which a cycle's collection may run after the owners'."""

        def __init__(self, child: Noted) -> None:
            self.child = child

        def __del__(self) -> None:
            ends.append(f"used {self.child.handle != 0}")

    gc.collect()
    holder = TokenConstraint()
    model = Noted("model", ends)
    context = Noted("context", ends, model)
    holder.__dict__.update(me=holder, model=model, context=context, last=Last(context))
    gone = weakref.ref(holder)
    del holder, model, context
    gc.collect()
    assert gone() is None
    assert ends == ["used True", "context", "model"]


def test_a_model_that_nobody_holds_goes_at_once(tiny_model: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        model = Model(tiny_model)
        gone = weakref.ref(model.handle._sentinel)
        context = decoded(model)
        del model
        assert gone() is not None
        context.logits(2)
        del context
        assert gone() is None
    finally:
        gc.enable()


def test_an_address_is_freed_once() -> None:
    freed: list[int] = []
    handle = Handle.create(42, lambda address, _: freed.append(address))
    same = handle
    del handle
    assert freed == []
    del same
    assert freed == [42]


EXIT = """
import sys, threading
from llmcore import *
from llmcore.messages import ChatPrompt
path = sys.argv[1]
model = Model(path)
context = Context(model, ContextParams(n_ctx=256, threads=2, threads_batch=2))
sampler = Sampler(model, SamplingParams(), n_ctx=256)
template = ChatTemplate(model, "x")
llm = LLM(path, n_ctx=256, threads=2)
stream = llm.generate([1, 2, 3], max_tokens=9, stream=True)
next(stream, None)
batch = Batch(64)
batch.add(0, 0, range(48), wants_logits=True)
def use():
    while True:
        context.clear()
        context.decode(batch)
threading.Thread(target=use, daemon=True).start()
if sys.argv[2] == "cycle":
    stream.me = stream; stream.llm = llm
print("well")
"""


@pytest.mark.parametrize("case", ["plain", "cycle"])
def test_a_program_ends_well_with_everything_open(tiny_model: Path, case: str) -> None:
    for _ in range(3):
        assert output_of(EXIT, tiny_model, case) == "well\n"


def test_leaked_handles_are_not_freed_and_dead_references_are_swept() -> None:
    freed: list[int] = []
    before = dict(Handle._finalizers)
    try:
        for i in range(500):
            Handle.create(i + 1, lambda address, _: freed.append(address))
        assert freed == list(range(1, 501))
        assert len(Handle._finalizers) < 2 * len(before) + 200
        parent = Handle.create(1001, lambda address, _: freed.append(address))
        child = Handle.create(1002, lambda address, _: freed.append(address), parent)
        Handle._finalizers = {key: each for key, each in Handle._finalizers.items() if key not in before}
        Handle.leak_all()
        del parent, child
        assert len(freed) == 500
    finally:
        Handle._finalizers = before
