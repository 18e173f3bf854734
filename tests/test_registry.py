"""The registry of known models: what it declares, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore.registry import HubSource, WheelSource, load_registry


def declaration(**changes: Any) -> dict[str, Any]:
    """A registry of one model; `changes` replace the model's fields."""
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
    path = write(tmp_path / "models.json", declaration(**changes))
    with pytest.raises(ConfigError, match=said) as caught:
        load_registry(path)
    assert str(path) in caught.value.message


def test_names_are_unique_and_the_default_is_one_of_them(tmp_path: Path) -> None:
    good = declaration()
    assert load_registry(write(tmp_path / "good.json", good)).find("m").file == "m.gguf"
    with pytest.raises(ConfigError, match="same name"):
        load_registry(write(tmp_path / "twice.json", {**good, "models": good["models"] * 2}))
    with pytest.raises(ConfigError, match="no model 'x'"):
        load_registry(write(tmp_path / "default.json", {**good, "default": "x"}))


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json"):
        load_registry(tmp_path / "absent.json")
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ConfigError, match=r"no\.json"):
        load_registry(tmp_path / "no.json")
