"""Names of models in Ollama's API, which have a tag: `name:latest`."""

from __future__ import annotations

from llmcore.log import cut

from ..http.errors import ApiError
from ..http.ignored_fields import IgnoredFields
from ..service.service import Service

_TAG = ":latest"


def tagged_name(model_id: str) -> str:
    """Returns the name with its tag, as Ollama lists models."""
    return model_id if ":" in model_id.rpartition("/")[2] else model_id + _TAG


def resolve_model(service: Service, name: str | None, ignored: IgnoredFields) -> str:
    """Returns the model's name for the reply: the request's, if it is one of the served model's, with or without the tag.

    Raises ApiError (404), in Ollama's words, if it is another model's; with the option any_model, notes it as ignored instead.
    """
    if not name:
        return service.model_id
    if not {name, name.removesuffix(_TAG)}.isdisjoint(service.model_names):
        return name
    try:
        service.check_model(name, ignored)
    except ApiError:
        raise ApiError(404, "model_not_found", f"model '{cut(name)}' not found", param="model") from None
    return service.model_id
