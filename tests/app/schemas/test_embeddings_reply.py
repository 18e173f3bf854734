"""Replies of /v1/embeddings are what OpenAI's SDK expects."""

from __future__ import annotations

import msgspec
from openai.types import CreateEmbeddingResponse

from llmcore_app.schemas.embeddings_reply import Embedding, EmbeddingList, InputUsage


def test_a_list_of_vectors() -> None:
    reply = EmbeddingList([Embedding(0, [0.5, 1.0])], "m", InputUsage(3, 3))
    read = CreateEmbeddingResponse.model_validate_json(msgspec.json.encode(reply))
    assert (read.object, read.model, read.usage.total_tokens) == ("list", "m", 3)
    assert (read.data[0].object, read.data[0].embedding) == ("embedding", [0.5, 1.0])


def test_an_empty_list_begins_with_its_brackets() -> None:
    """routes/embeddings.py puts the encoded vectors into the first brackets."""
    encoded = msgspec.json.encode(EmbeddingList([], "[]", InputUsage(0, 0)))
    assert encoded.startswith(b'{"data":[]')
