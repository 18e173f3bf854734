"""close() while other threads are in calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.llama.programs import output_of

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
