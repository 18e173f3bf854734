"""The loop beneath: a model, a context, a batch, a sampler, and the cells of two sequences."""

from __future__ import annotations

from llmcore import Batch, Context, ContextParams, Model, Sampler, SamplingParams
from llmcore.hub.model_store import default_model_path

path = default_model_path()
assert path is not None, "run `llmcore pull`"

with (
    Model(path) as model,
    Context(model, ContextParams(n_ctx=512, n_slots=2, threads=2, threads_batch=2)) as context,
    Sampler(model, SamplingParams(temperature=0)) as sampler,
):
    batch = Batch(128)
    prompt = model.tokenize("The sun rises in the")
    row = batch.add(0, 0, prompt, wants_logits=True)  # slot 0, from position 0 on
    context.decode(batch)
    context.copy(0, 1)  # slot 1 shares the prompt's cells

    tokens: list[int] = []
    for position in range(len(prompt), len(prompt) + 8):
        tokens.append(sampler.sample(context, row))
        if model.is_end(tokens[-1]):
            break
        batch.clear()
        row = batch.add(0, position, tokens[-1:], wants_logits=True)
        context.decode(batch)
    print(model.detokenize(tokens))
    print("cells of slot 0:", context.span(0), "of slot 1:", context.span(1))
    context.remove(0, len(prompt))  # back to the prompt
    state = context.save_state(1)
    context.load_state(0, state)
