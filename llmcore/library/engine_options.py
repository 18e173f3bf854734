"""The engine's configuration made of keyword arguments."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, InvalidRequestError, ModelMissingError
from llmcore.hub.model_store import default_model_path, registry, with_model
from llmcore.hub.named_model import named_model_path
from llmcore.library.checks import truth
from llmcore.library.other_names import ENGINE_NAMES, unknown_argument, with_our_names
from llmcore.log import event
from llmcore.machine.options import value_of_short_name
from llmcore.values import plain_value, wrong_value

logger = logging.getLogger(__name__)

# Arguments of other libraries whose usual value changes nothing here.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {"n_gpu_layers": (0, -1), "verbose": (False,)}


def engine_config(
    model: Any, options: Mapping[str, Any], environ: Mapping[str, str] = os.environ, *, pull: Any = False
) -> EngineConfig:
    """Returns the configuration for a model (a path, a known model's name, a reference to the hub, None for the default model) and
    options of EngineConfig. If `threads` is not among them, OMP_NUM_THREADS counts.

    Raises InvalidRequestError or ConfigError, naming the argument, ModelMissingError, and DownloadError if `pull` is True.
    """
    fetches = truth(pull, "pull")
    given = {name: plain_value(value) for name, value in with_our_names(options, ENGINE_NAMES).items()}
    given = {name: value for name, value in given.items() if value not in _WITHOUT_EFFECT.get(name, ())}
    path = _found(_model_path(model, given.pop("model_path", None)), environ, fetches=fetches)
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


def _found(given: str, environ: Mapping[str, str], *, fetches: bool) -> str:
    """Returns the path of a model that was given by path or name; with `fetches`, of the default model too, which "" names."""
    if not given and default_model_path(environ) is None:
        if not fetches:
            problem = "no model is given, and the default one is not here: `llmcore pull` fetches it, or pull=True does"
            raise ModelMissingError(problem, param="model")
        given = registry(environ).default
    try:
        path = named_model_path(given, pull=fetches, environ=environ, notify=_log_line) if given else None
    except ConfigError as error:
        if error.param == "name":
            error.param = "model"
        raise
    return given if path is None else os.fspath(path)


def _log_line(line: str) -> None:
    event(logger, logging.INFO, "pull", message=line)


def _as_path(value: Any, name: str) -> str:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise wrong_value(name, "a path", value)
    path = os.fsdecode(value)
    if not path and name == "model":
        raise InvalidRequestError("model must be a path, got an empty one", param=name)
    return path
