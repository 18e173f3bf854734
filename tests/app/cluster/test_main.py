"""The command that starts a cluster, as far as it goes without Ray."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore_app.cluster.__main__ import check_server, main
from llmcore_app.config import ServerConfig


@pytest.mark.parametrize("options", [{"admin_port": 0}, {"tls_cert": "/cert.pem"}, {"head_timeout_s": 1.0}], ids=str)
def test_options_of_our_listener_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=name) as caught:
        check_server(ServerConfig(**options))
    assert caught.value.param == name


def test_other_options_are_accepted() -> None:
    check_server(ServerConfig(host="0.0.0.0", port=0, drain_s=1.0, max_messages=5))


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_command_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    assert main(["--model-path", str(tmp_path / "x.gguf")]) == 1
    assert "pip install 'llmcore[ray]'" in capsys.readouterr().err


def test_a_bad_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--n-replicas", "0"]) == 1
    assert capsys.readouterr().err.splitlines() == ["llmcore: n_replicas must be between 1 and 10000, got 0"]
