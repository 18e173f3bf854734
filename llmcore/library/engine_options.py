"""The engine's configuration made of keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, InvalidRequestError
from llmcore.hub.model_store import with_model
from llmcore.library.checks import wrong
from llmcore.library.other_names import ENGINE_NAMES, unknown_argument, with_our_names
from llmcore.machine.options import value_of_short_name
from llmcore.sampling import plain_value

# Arguments of other libraries whose usual value changes nothing here.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {"n_gpu_layers": (0, -1), "verbose": (False,)}


def engine_config(model: Any, options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> EngineConfig:
    """Returns the configuration for a model (a path, None for the default model) and options of EngineConfig. If `threads` is not
    among them, OMP_NUM_THREADS counts.

    Raises InvalidRequestError or ConfigError, naming the argument, and ModelMissingError.
    """
    given = {name: plain_value(value) for name, value in with_our_names(options, ENGINE_NAMES).items()}
    given = {name: value for name, value in given.items() if value not in _WITHOUT_EFFECT.get(name, ())}
    path = _model_path(model, given.pop("model_path", None))
    for name in given:
        if name not in EngineConfig.__dataclass_fields__:
            raise unknown_argument(name, EngineConfig.__dataclass_fields__, "option")
        if EngineConfig.__dataclass_fields__[name].metadata["option"].is_path:
            given[name] = _as_path(given[name], name)
    if "threads" not in given:
        given["threads"] = value_of_short_name(EngineConfig, "threads", environ)
    try:
        return with_model(EngineConfig(model_path=path, **given), environ)
    except ConfigError as error:
        if error.param == "model_path":
            error.param = "model"
        raise


def _model_path(model: Any, model_path: Any) -> str:
    if model is not None and model_path is not None:
        raise InvalidRequestError("model and model_path are the same argument: give one of them", param="model_path")
    given = model if model is not None else model_path
    return "" if given is None else _as_path(given, "model")


def _as_path(value: Any, name: str) -> str:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise wrong(name, "a path", value)
    path = os.fsdecode(value)
    if not path and name == "model":
        raise InvalidRequestError("model must be a path, got an empty one", param=name)
    return path
