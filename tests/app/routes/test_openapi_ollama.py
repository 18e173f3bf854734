"""Ollama's API in the OpenAPI document."""

from __future__ import annotations

from llmcore_app.routes.openapi_ollama import OLLAMA_ROOTS, ollama_paths


def test_streams_and_whole_answers_are_told() -> None:
    chat = ollama_paths("#/{name}")["/api/chat"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "application/x-ndjson"}
    assert chat["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/OllamaChatRequest"}


def test_every_reference_is_to_a_described_type() -> None:
    text = repr(ollama_paths("<{name}>"))
    names = {part.partition(">")[0] for part in text.split("<")[1:]}
    assert names <= {root.__name__ for root in OLLAMA_ROOTS}
