"""Replies of the text endpoints have llama-server's and vLLM's fields."""

from __future__ import annotations

import msgspec
import pytest

from llmcore_app.schemas.text_reply import ApplyTemplateReply, DetokenizeReply, TokenizeReply


@pytest.mark.parametrize(
    ("reply", "encoded"),
    [
        (TokenizeReply([1, 2], 2, 9), b'{"tokens":[1,2],"count":2,"max_model_len":9}'),
        (DetokenizeReply("a", "a"), b'{"content":"a","prompt":"a"}'),
        (ApplyTemplateReply("a"), b'{"prompt":"a"}'),
    ],
)
def test_fields(reply: msgspec.Struct, encoded: bytes) -> None:
    assert msgspec.json.encode(reply) == encoded
