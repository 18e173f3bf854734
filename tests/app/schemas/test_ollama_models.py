"""Requests about models in Ollama's API."""

from __future__ import annotations

from llmcore_app.schemas.ollama_models import OllamaModelRequest


def test_the_model_has_two_fields() -> None:
    assert OllamaModelRequest(model="a", name="b").asked_model == "a"
    assert OllamaModelRequest(name="b").asked_model == "b"
    assert OllamaModelRequest().asked_model == ""
