"""Search by meaning: texts and a query as vectors. A model made for it (docs/MODELS.md) finds far better than this one."""

from __future__ import annotations

import numpy as np

from llmcore import LLM

TEXTS = [
    "The museum is closed on Mondays.",
    "Our train leaves at a quarter past six.",
    "Add two eggs and a cup of flour.",
    "The train to the coast takes two hours.",
]

with LLM(pooling="mean") as llm:  # embedding models name their pooling; a chat model has to be told one
    vectors = llm.embed(TEXTS)  # float32[4, n_embd], unit vectors
    query = llm.embed("When does the train leave?")
    scores = vectors @ query
    for index in np.argsort(-scores):
        print(f"{scores[index]:.3f} {TEXTS[index]}")
