"""Replies of the text endpoints have llama-server's fields."""

from __future__ import annotations

import msgspec
import pytest

from llmcore_app.schemas.text_reply import ApplyTemplateReply, DetokenizeReply, TokenizeReply


@pytest.mark.parametrize(
    ("reply", "encoded"),
    [
        (TokenizeReply([1, 2]), b'{"tokens":[1,2]}'),
        (DetokenizeReply("a"), b'{"content":"a"}'),
        (ApplyTemplateReply("a"), b'{"prompt":"a"}'),
    ],
)
def test_fields(reply: msgspec.Struct, encoded: bytes) -> None:
    assert msgspec.json.encode(reply) == encoded
