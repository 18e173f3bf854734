"""Replies of /v1/completions are what OpenAI's SDK expects."""

from __future__ import annotations

import msgspec
from openai.types import Completion

from llmcore_app.schemas.completion_reply import TextChoice, TextCompletion
from tests.app.schemas.test_usage import USAGE


def test_a_complete_answer() -> None:
    encoded = msgspec.json.encode(TextCompletion("id", 1, "m", [TextChoice(0, "Hi", "stop")], usage=USAGE))
    completion = Completion.model_validate_json(encoded)
    assert (completion.choices[0].text, completion.choices[0].finish_reason) == ("Hi", "stop")
    assert completion.usage is not None


def test_a_chunk_has_no_usage_and_no_finish_reason() -> None:
    encoded = msgspec.json.encode(TextCompletion("id", 1, "m", [TextChoice(0, "Hi")]))
    assert b"usage" not in encoded
    assert b'"finish_reason":null' in encoded
