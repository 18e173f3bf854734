"""Ownership: objects are freed once, in the right order, and a closed one is an error."""

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
    """An owner of a made-up native object that records when it is freed."""

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
