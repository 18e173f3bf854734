"""Names of models in Ollama's API, which have a tag: `name:latest`."""

from __future__ import annotations

from llmcore.log import cut

from ..http.errors import ApiError
from ..service.service import Service

_TAG = ":latest"


def tagged_name(model_id: str) -> str:
    """Returns the name with its tag, as Ollama lists models."""
    return model_id if ":" in model_id.rpartition("/")[2] else model_id + _TAG


def check_ollama_model(service: Service, name: str | None) -> None:
    """Raises ApiError (404), in Ollama's words, if `name` is not the served model's, with or without the tag."""
    if not name or any(_is_served(service, each) for each in (name, name.removesuffix(_TAG))):
        return
    raise ApiError(404, "model_not_found", f"model '{cut(name)}' not found", param="model")


def _is_served(service: Service, name: str) -> bool:
    try:
        service.check_model(name)
    except ApiError:
        return False
    return True
