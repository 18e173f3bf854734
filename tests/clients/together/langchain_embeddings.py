"""LangChain: OpenAIEmbeddings of documents and of a query."""

import sys

from langchain_openai import OpenAIEmbeddings

url, model = sys.argv[1:]

# Without this it counts tokens with a vocabulary of OpenAI's, which it would fetch from the network.
embeddings = OpenAIEmbeddings(base_url=url, api_key="none", model=model, check_embedding_ctx_length=False)
documents = embeddings.embed_documents(["The library opens at 9.", "Cats sleep all day.", "When can I borrow books?"])
query = embeddings.embed_query("At what time does the library open?")
assert len(documents) == 3, len(documents)
assert all(len(each) == len(query) == 384 for each in documents), len(query)
likeness = [sum(a * b for a, b in zip(query, each, strict=True)) for each in documents]
assert likeness.index(max(likeness)) == 0, likeness
