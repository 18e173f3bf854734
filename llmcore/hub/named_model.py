"""Model files by name: a known model or a reference to a repository, found in the folder of models or pulled into it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from llmcore.errors import ConfigError, ModelMissingError
from llmcore.hub import client, model_store, repository
from llmcore.hub.reference import Reference, parse_reference
from llmcore.hub.registry import KnownModel, Registry
from llmcore.hub.transfer import DownloadProgress, Notify


def named_model_path(
    name: str,
    *,
    pull: bool = False,
    environ: Mapping[str, str] = os.environ,
    progress: DownloadProgress | None = None,
    notify: Notify | None = None,
) -> Path | None:
    """Returns the path of the model file that a name stands for, or None if `name` is a path: something exists there, or it looks
    like one. A name is that of a known model, or a reference (reference.py).

    Args:
        pull: fetch the model if it is not here. Otherwise nothing uses the network.
        progress, notify: see model_store.pull().

    Raises ModelMissingError with the command that fetches the model, ConfigError for an unknown name, DownloadError.
    """
    if os.path.lexists(name) or _is_path(name):
        return None
    registry, folder = model_store.registry(environ), model_store.model_dir(environ)
    progress, notify = progress or (lambda done, total: None), notify or (lambda line: None)
    reference = _reference(name, environ)
    if reference is None and "/" in name:
        return None
    if reference is None:
        model = _known(name, registry)
        path = model_store.find(model, folder)
        if path is None and pull:
            path = model_store.pull(model, folder, progress=progress, notify=notify)
    else:
        path = repository.find_reference(reference, folder)
        if path is None and pull:
            path = repository.pull_reference(reference, folder, progress=progress, notify=notify)
    if path is None:
        problem = f"the model {name} is not here: `llmcore pull {name}` fetches it, or LLM({name!r}, pull=True) does"
        raise ModelMissingError(problem, param="model")
    return path


def _is_path(name: str) -> bool:
    """True for what can only be a path: it begins like one, or is a GGUF file in no or one folder."""
    return name.startswith(("/", ".", "~")) or (name.endswith(".gguf") and name.count("/") < 2) or "\0" in name


def _reference(name: str, environ: Mapping[str, str]) -> Reference | None:
    """Returns the reference that a name is, or None. Raises ConfigError for a URL that is none."""
    try:
        return parse_reference(name, client.endpoint(environ))
    except ConfigError:
        if "://" in name:
            raise
        return None


def _known(name: str, registry: Registry) -> KnownModel:
    for model in registry.models:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in registry.models)
    raise ModelMissingError(
        f"there is no file {name!r} and no known model of that name (known: {known}); OWNER/NAME:QUANT names one of the hub",
        param="model",
    )
