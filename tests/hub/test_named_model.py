"""Names of models, paths, and what is neither."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.errors import ConfigError, DownloadError, ModelMissingError
from llmcore.hub.named_model import named_model_path
from tests.hub_stand_in import Fault, HubStandIn, connect, running

SMALL, LARGE = b"GGUF small", b"GGUF large" * 10
NAMES = ("owner/name", "owner/name:Q8_0", "owner/name/m-Q8_0.gguf", "owner/name:Q4_K_M@v1")


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    files = {"m-Q4_K_M.gguf": SMALL, "m-Q8_0.gguf": LARGE}
    with running(HubStandIn(files, branches=("main", "v1"))) as stand_in:
        connect(stand_in, monkeypatch, tmp_path)
        monkeypatch.setenv("MODEL_DIR", str(tmp_path / "models"))
        yield stand_in


@pytest.mark.parametrize("name", NAMES)
def test_a_repository_is_fetched_only_when_that_is_asked(hub_server: HubStandIn, name: str) -> None:
    with pytest.raises(ModelMissingError, match=f"llmcore pull {name}") as caught:
        named_model_path(name)
    assert caught.value.param == "model"
    lines: list[str] = []
    path = named_model_path(name, pull=True, notify=lines.append)
    assert path is not None
    assert path.read_bytes() in (SMALL, LARGE)
    assert lines
    assert named_model_path(name) == path
    n_seen = len(hub_server.seen)
    assert named_model_path(name, pull=True) == path
    assert len(hub_server.seen) == n_seen, "what is here needs no network"


def test_a_known_model_of_the_users(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    hub = {"kind": "hub", "repo": "owner/name", "file": "mine.gguf"}
    file.write_text(json.dumps({"models": [{"name": "mine", "file": "mine.gguf", "sources": [hub]}]}))
    environ = {"MODEL_DIR": str(tmp_path), "LLMCORE_MODEL_CONFIG": str(file)}
    with pytest.raises(ModelMissingError, match="`llmcore pull mine`"):
        named_model_path("mine", environ=environ)
    (tmp_path / "mine.gguf").write_bytes(SMALL)
    assert named_model_path("mine", environ=environ) == tmp_path / "mine.gguf"


def test_a_path_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("smollm2-135m-instruct", "owner"):
        Path(name).mkdir()
    assert named_model_path("smollm2-135m-instruct") is None
    Path("owner/name").write_bytes(SMALL)
    assert named_model_path("owner/name") is None


@pytest.mark.parametrize("path", ["/m.gguf", "./m", "~/m.gguf", "m.gguf", "models/m.gguf", "a\0b", "a/b/c.bin"])
def test_what_looks_like_a_path_is_one(path: str) -> None:
    assert named_model_path(path, environ={"MODEL_DIR": os.sep}) is None


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    for pull in (False, True):
        with pytest.raises(ModelMissingError, match=r"no known model of that name .*smollm2-135m-instruct"):
            named_model_path("nonsense", pull=pull, environ={"MODEL_DIR": str(tmp_path)})
    with pytest.raises(ConfigError):
        named_model_path("https://example.com/a.gguf", environ={"MODEL_DIR": str(tmp_path)})


def test_a_hub_that_fails_is_an_error_of_ours(hub_server: HubStandIn) -> None:
    hub_server.fail("api", *[Fault(status=503)] * 20)
    with pytest.raises(DownloadError):
        named_model_path("owner/name", pull=True)
