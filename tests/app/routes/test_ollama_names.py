"""Names of models in Ollama's API."""

from __future__ import annotations

import pytest

from llmcore_app.application import create_service
from llmcore_app.config import ServerConfig
from llmcore_app.http.errors import ApiError
from llmcore_app.http.ignored_fields import IgnoredFields
from llmcore_app.routes.ollama_names import resolve_model, tagged_name
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("name", "tagged"),
    [("llama", "llama:latest"), ("llama:8b", "llama:8b"), ("host:80/llama", "host:80/llama:latest")],
)
def test_names_get_a_tag(name: str, tagged: str) -> None:
    assert tagged_name(name) == tagged


@pytest.mark.parametrize(
    ("name", "found"),
    [("fake", "fake"), ("fake:latest", "fake:latest"), ("fast:latest", "fast:latest"), ("", "fake"), (None, "fake")],
)
def test_the_served_model(engine: FakeEngine, name: str | None, found: str) -> None:
    service, ignored = create_service(engine, ServerConfig(model_alias="fast"), "fake"), IgnoredFields()
    assert resolve_model(service, name, ignored) == found
    assert not ignored.paths


@pytest.mark.parametrize("name", ["fake:8b", "latest", ":latest", "fake:latest:latest"])
def test_other_models(service: Service, name: str) -> None:
    with pytest.raises(ApiError, match=f"model '{name}' not found") as refused:
        resolve_model(service, name, IgnoredFields())
    assert refused.value.status == 404


def test_any_model_is_the_served_one(engine: FakeEngine) -> None:
    service, ignored = create_service(engine, ServerConfig(any_model=True), "fake"), IgnoredFields()
    assert resolve_model(service, "llama3.2", ignored) == "fake"
    assert ignored.paths == {"model": "model"}
