"""Replies of /v1/rerank: documents only if they were asked for."""

from __future__ import annotations

import json

import msgspec

from llmcore_app.schemas.embeddings_reply import InputUsage
from llmcore_app.schemas.rerank_reply import RankedDocument, RerankReply
from llmcore_app.schemas.rerank_request import Document


def test_a_document_is_absent_or_an_object() -> None:
    results = [RankedDocument(1, 0.5), RankedDocument(0, 0.25, Document(text="a"))]
    reply = json.loads(msgspec.json.encode(RerankReply("id", "m", results, InputUsage(2, 2))))
    assert reply["object"] == "list"
    assert reply["results"] == [
        {"index": 1, "relevance_score": 0.5},
        {"index": 0, "relevance_score": 0.25, "document": {"text": "a"}},
    ]
