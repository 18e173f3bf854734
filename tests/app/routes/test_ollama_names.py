"""Names of models in Ollama's API."""

from __future__ import annotations

import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.routes.ollama_names import check_ollama_model, tagged_name
from llmcore_app.service.service import Service


@pytest.mark.parametrize(
    ("name", "tagged"),
    [("llama", "llama:latest"), ("llama:8b", "llama:8b"), ("host:80/llama", "host:80/llama:latest")],
)
def test_names_get_a_tag(name: str, tagged: str) -> None:
    assert tagged_name(name) == tagged


def test_the_served_model(service: Service) -> None:
    for name in ("fake", "fake:latest", "", None):
        check_ollama_model(service, name)


@pytest.mark.parametrize("name", ["fake:8b", "latest", ":latest", "fake:latest:latest"])
def test_other_models(service: Service, name: str) -> None:
    with pytest.raises(ApiError, match=f"model '{name}' not found") as refused:
        check_ollama_model(service, name)
    assert refused.value.status == 404
