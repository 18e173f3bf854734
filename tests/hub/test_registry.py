"""The registry of known models, and invalid declarations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore.hub.registry import HubSource, WheelSource, load_registry

WHEEL = {"kind": "wheel", "requirement": "x==1", "wheel_bytes": 1, "wheel_sha256": "0" * 64, "member": "m"}


def extension(**changes: Any) -> dict[str, Any]:
    """A file of one model; `changes` replace the model's fields."""
    model = {
        "name": "m",
        "description": "d",
        "file": "m.gguf",
        "size_bytes": 1,
        "sha256": "0" * 64,
        "n_ctx": 8,
        "licence": "MIT",
        "sources": [{"kind": "hub", "repo": "a/b", "revision": "1" * 40, "file": "m.gguf"}],
    }
    return {"default": "m", "models": [{**model, **changes}]}


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_the_default_model_is_declared_with_both_sources() -> None:
    model = load_registry().find()
    assert (model.name, model.licence, model.n_ctx) == ("smollm2-135m-instruct", "Apache-2.0", 8192)
    assert [type(source) for source in model.sources] == [WheelSource, HubSource]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown model 'gpt-5'; known models: smollm2-135m-instruct"):
        load_registry().find("gpt-5")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"sha256": "abc"}, "sha256"),
        ({"file": "../m.gguf"}, "file name"),
        ({"file": "m.bin"}, "file name"),
        ({"size_bytes": "1"}, r"\$\.models\[0\]\.size_bytes"),
        ({"sources": []}, "sources must not be empty"),
        ({"sources": [{"kind": "torrent"}]}, "torrent"),
        ({"sources": [{"kind": "hub", "repo": "a/b", "revision": "main", "file": "m"}]}, "revision"),
        ({"sources": [{"kind": "hub", "repo": "a", "file": "m"}]}, "repo"),
        ({"name": "a/b"}, "without slashes"),
        ({"n_ctx": -1}, "must not be negative"),
        ({"sha256": "", "sources": [WHEEL]}, "a wheel as a source needs size_bytes and sha256"),
        (
            {
                "sources": [
                    {"kind": "wheel", "requirement": "x", "wheel_bytes": 1, "wheel_sha256": "0" * 64, "member": "m"}
                ]
            },
            "requirement",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "models.json", extension(**changes))
    with pytest.raises(ConfigError, match=said) as caught:
        load_registry(path)
    assert str(path) in caught.value.message


def test_names_are_unique_and_the_default_is_one_of_them(tmp_path: Path) -> None:
    good = extension()
    assert load_registry(write(tmp_path / "good.json", good)).find().file == "m.gguf"
    with pytest.raises(ConfigError, match=r"twice\.json: .*same name, 'm'"):
        load_registry(write(tmp_path / "twice.json", {**good, "models": good["models"] * 2}))
    with pytest.raises(ConfigError, match=r"default\.json: default: there is no model 'x'"):
        load_registry(write(tmp_path / "default.json", {**good, "default": "x"}))


def test_the_users_file_extends_ours(tmp_path: Path) -> None:
    ours = load_registry()
    mine = {"models": extension(name="mine")["models"] + extension(name="qwen3-0.6b")["models"]}
    registry = load_registry(write(tmp_path / "models.json", mine))
    assert registry.default == ours.default
    assert [model.name for model in registry.models] == [*(model.name for model in ours.models), "mine"]
    assert registry.find("qwen3-0.6b").file == "m.gguf", "the user's wins"
    assert registry.find("llama-3.1-8b-instruct") == ours.find("llama-3.1-8b-instruct")


def test_what_is_not_known_may_be_left_out(tmp_path: Path) -> None:
    short = {
        "models": [{"name": "m", "file": "m.gguf", "sources": [{"kind": "hub", "repo": "a/b", "file": "x/m.gguf"}]}]
    }
    model = load_registry(write(tmp_path / "models.json", short)).find("m")
    assert (model.size_bytes, model.sha256, model.memory_bytes, model.sources) == (
        0,
        "",
        0,
        (HubSource("a/b", "x/m.gguf"),),
    )


def test_every_known_model_is_pinned() -> None:
    for model in load_registry().models:
        assert model.size_bytes
        assert model.sha256
        assert model.licence
        assert all(source.revision for source in model.sources if isinstance(source, HubSource))
        assert model.memory_bytes > model.size_bytes


def test_the_model_that_deployments_are_written_for() -> None:
    model = load_registry().find("llama-3.1-8b-instruct")
    assert model.file == "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"
    assert model.kv_bytes_per_token == 2 * 32 * 8 * 128 * 2
    # A GiB for 8,192 tokens.
    assert model.memory_bytes == 4_920_739_232 + 2**30


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json"):
        load_registry(tmp_path / "absent.json")
    for content in (b"{", b"\xff"):
        (tmp_path / "no.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"no\.json"):
            load_registry(tmp_path / "no.json")


def test_sampling_parameters_of_known_models_are_checked(tmp_path: Path) -> None:
    assert all(model.sampling["temperature"] > 0 for model in load_registry().models)
    hub = {"kind": "hub", "repo": "owner/name", "file": "m.gguf"}
    for sampling, said in (({"temperature": -1}, "temperature"), ({"temprature": 1}, "temprature")):
        entry = {"name": "m", "file": "m.gguf", "sources": [hub], "sampling": sampling}
        path = tmp_path / "known.json"
        path.write_text(json.dumps({"models": [entry]}))
        with pytest.raises(ConfigError, match=said):
            load_registry(path)
