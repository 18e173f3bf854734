"""Ollama's own package: vectors of several texts, and of one by the older endpoint."""

import sys

from ollama import Client

url, model = sys.argv[1:]
client = Client(url.removesuffix("/v1"))
texts = ["The library opens at 9.", "Cats sleep all day.", "At what time does the library open?"]
answer = client.embed(model, texts)
*documents, query = answer.embeddings
assert all(len(each) == 384 for each in answer.embeddings), answer
likeness = [sum(a * b for a, b in zip(query, each, strict=True)) for each in documents]
assert likeness.index(max(likeness)) == 0, likeness
assert answer.prompt_eval_count > 0, answer
older = client.embeddings(model, texts[-1]).embedding
assert sum(a * b for a, b in zip(query, older, strict=True)) > 0.999
assert client.show(model).capabilities == ["embedding"]
