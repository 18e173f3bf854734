"""Requests for vectors in Ollama's API."""

from __future__ import annotations

import msgspec
import pytest

from llmcore_app.schemas.ollama_embed import OllamaEmbeddingsRequest, OllamaEmbedRequest


@pytest.mark.parametrize(("body", "texts"), [('"a"', ["a"]), ('["a","b"]', ["a", "b"]), ('""', []), ("null", [])])
def test_texts(body: str, texts: list[str]) -> None:
    assert msgspec.json.decode(f'{{"input":{body}}}', type=OllamaEmbedRequest).texts() == texts


def test_an_empty_text_among_others_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode('{"input":["a",""]}', type=OllamaEmbedRequest)


def test_the_older_request() -> None:
    assert OllamaEmbeddingsRequest(prompt="a").texts() == ["a"]
    assert OllamaEmbeddingsRequest().texts() == []
