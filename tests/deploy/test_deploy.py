"""The image, the compose file, nginx and the scripts agree with the service's options, and the scripts work.

deploy/verify.sh tests the parts that need containers.
"""

from __future__ import annotations

import dataclasses
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from llmcore import config
from llmcore.config import EngineConfig
from llmcore.machine.options import ENV_PREFIX
from llmcore_app.config import ServerConfig

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCRIPTS = sorted(DEPLOY.glob("*.sh"))

# Variables that are not options of the service: MODEL_DIR is for the hub, PULL_MODEL for the image's entry point.
OTHER_ENV = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "XDG_CACHE_HOME", "MODEL_DIR", "PULL_MODEL"}


def option_names() -> set[str]:
    names = set()
    for each in (EngineConfig, ServerConfig):
        for field in dataclasses.fields(each):
            names |= {ENV_PREFIX + field.name.upper(), field.metadata["option"].env}
    return names - {""}


def instructions(name: str) -> list[str]:
    """Returns the arguments of each instruction of a name in the Dockerfile's last stage."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stage = re.split(r"^FROM ", text, flags=re.MULTILINE)[-1]
    return [line.split(None, 1)[1].strip() for line in stage.splitlines() if line.startswith(f"{name} ")]


def image_environment() -> dict[str, str]:
    pairs = re.findall(r'(\w+)=("[^"]*"|\S+)', " ".join(instructions("ENV")))
    return {name: value.strip('"') for name, value in pairs}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"deploy_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_image_sets_options_that_exist_and_load() -> None:
    environ = image_environment()
    assert set(environ) - OTHER_ENV <= option_names()
    server = config.load(ServerConfig, {}, environ)
    assert server.host == "0.0.0.0"
    assert instructions("EXPOSE") == [str(server.port)]
    assert config.load(EngineConfig, {}, environ).profile_dir.startswith("/var/lib/llmcore/")


def test_the_image_runs_a_program_of_its_own_as_nobody_in_particular() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions("USER")[0])
    for name in ("ENTRYPOINT", "CMD", "VOLUME"):
        assert isinstance(json.loads(instructions(name)[0]), list), f"{name} in exec form"
    check = instructions("HEALTHCHECK")[0].partition("CMD ")[2]
    for program in (*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(check)):
        assert os.access(DEPLOY / "image" / program, os.X_OK), program


def test_what_the_wheel_is_built_from_reaches_the_builder() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "native", "llmcore", "app"} <= kept
    assert all((ROOT / name).exists() for name in kept)


def test_compose_sets_options_that_exist(compose: dict[str, Any]) -> None:
    assert set(compose["services"]["llm"]["environment"]) - OTHER_ENV <= option_names()


def test_compose_agrees_with_the_service(compose: dict[str, Any]) -> None:
    llm, defaults = compose["services"]["llm"], ServerConfig()
    assert [port.rsplit(":", 1)[1] for port in llm["ports"]] == [str(defaults.port)]
    assert int(llm["stop_grace_period"].removesuffix("s")) > defaults.drain_s
    assert llm["healthcheck"]["test"] == ["CMD", "healthcheck.py"]
    assert llm["deploy"]["resources"]["limits"] == {"cpus": "${LLM_CPUS:-4}", "memory": "${LLM_MEMORY:-16G}"}
    mounted = {volume.rsplit(":", 1)[1] for volume in llm["volumes"]}
    assert mounted == set(json.loads(instructions("VOLUME")[0]))


@pytest.mark.parametrize("service", ["llm", "nginx", "prometheus", "grafana"])
def test_compose_gives_no_container_more_than_it_needs(compose: dict[str, Any], service: str) -> None:
    found = compose["services"][service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "profiles" in found or service == "llm"


def test_nginx_has_the_services_bounds() -> None:
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    settings = dict(re.findall(r"^\s*(\w+)\s+([^;{]+);", text, flags=re.MULTILINE))
    defaults = ServerConfig()
    assert int(settings["client_max_body_size"]) == defaults.max_body_bytes
    assert settings["client_header_timeout"] == f"{defaults.head_timeout_s:g}s"
    assert settings["client_body_timeout"] == f"{defaults.body_timeout_s:g}s"
    assert settings["send_timeout"] == f"{defaults.send_timeout_s:g}s"
    assert float(settings["proxy_read_timeout"].removesuffix("s")) > defaults.sse_keep_alive_s
    assert settings["proxy_buffering"] == "off"
    assert f"llm:{defaults.port};" in text
    assert "location = /metrics { return 404; }" in text
    # With its port: a page's origin is compared with it (app/http/origin.py).
    assert re.search(r"map \$http_host \$outer_host \{\s*default \$http_host;\s*\"\"\s+localhost;\s*\}", text)
    assert "proxy_set_header Host $outer_host;" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_tell_how_they_are_used(script: Path) -> None:
    told = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert told.returncode == 0
    assert told.stdout.startswith(f"Usage: {script.name}")
    wrong = subprocess.run([script, "--nonsense"], capture_output=True, text=True, timeout=30, check=False)
    assert wrong.returncode == 2
    assert "Usage:" in wrong.stderr


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    scripts = [*SCRIPTS, *DEPLOY.glob("verify/*.sh")]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


# --- backup and restore -------------------------------------------------------------------------------------------------


def call(name: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEPLOY / name, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "more").mkdir(parents=True)
    (folder / "a model.gguf").write_bytes(b"GGUF" * 5000)
    (folder / "more" / "b.gguf").write_bytes(b"weights")
    (folder / ".a model.gguf.partial-x").mkdir()
    (folder / ".a model.gguf.partial-x" / "half").write_bytes(b"half")
    return folder


@pytest.fixture
def archive(models: Path, tmp_path: Path) -> Path:
    path = tmp_path / "models.tar"
    done = call("backup.sh", models, path)
    assert done.returncode == 0, done.stderr
    return path


def test_what_was_backed_up_comes_back(archive: Path, models: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "other.gguf").write_bytes(b"stays")
    done = call("restore.sh", archive, target)
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {"a model.gguf": b"GGUF" * 5000, "more/b.gguf": b"weights", "other.gguf": b"stays"}


def test_an_archive_is_not_overwritten(archive: Path, models: Path) -> None:
    before = archive.read_bytes()
    assert call("backup.sh", models, archive).returncode == 1
    assert archive.read_bytes() == before


def test_a_damaged_archive_changes_nothing(archive: Path, models: Path) -> None:
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(b"GGUFGGUF") + 100] ^= 1
    archive.write_bytes(damaged)
    (models / "a model.gguf").write_bytes(b"newer")
    done = call("restore.sh", "--replace", archive, models)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert (models / "a model.gguf").read_bytes() == b"newer"
    assert not list(models.glob(".restore-*"))


def test_a_cut_archive_changes_nothing(archive: Path, models: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:15000])
    done = call("restore.sh", "--replace", archive, models)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert (models / "a model.gguf").read_bytes() == b"GGUF" * 5000


def test_a_file_that_differs_is_replaced_only_when_that_is_asked_for(archive: Path, models: Path) -> None:
    (models / "more" / "b.gguf").write_bytes(b"newer")
    refused = call("restore.sh", archive, models)
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    assert (models / "more" / "b.gguf").read_bytes() == b"newer"
    assert call("restore.sh", "--replace", archive, models).returncode == 0
    assert (models / "more" / "b.gguf").read_bytes() == b"weights"


# --- what the image runs ------------------------------------------------------------------------------------------------


@pytest.fixture
def entry(tmp_path: Path) -> Any:
    """Returns a function of arguments and environment that runs the entry point with a stand-in for llmcore."""
    stand_in = tmp_path / "bin" / "llmcore"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "pid=$$ model=$MODEL_PATH" "$@"\n')
    stand_in.chmod(0o755)

    def call(*arguments: str, **environ: str) -> tuple[subprocess.Popen[str], str, str]:
        path = f"{stand_in.parent}:{os.environ['PATH']}"
        given = {"PATH": path, "HOME": str(tmp_path), "MODEL_DIR": str(tmp_path / "none"), **environ}
        command = [sys.executable, str(DEPLOY / "image" / "entry.py"), *arguments]
        with subprocess.Popen(
            command, env=given, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        ) as process:
            out, err = process.communicate(timeout=60)
        return process, out, err

    return call


def test_without_a_model_the_entry_says_what_to_do(entry: Any) -> None:
    process, out, err = entry("serve")
    assert process.returncode == 1
    assert out == ""
    assert "PULL_MODEL" in err
    assert "MODEL_PATH" in err


@pytest.mark.parametrize("arguments", [("serve", "--model-path=/m.gguf"), ("serve", "--help"), ("pull", "--list")])
def test_the_entry_becomes_llmcore(entry: Any, arguments: tuple[str, ...]) -> None:
    process, out, _ = entry(*arguments)
    assert process.returncode == 0
    assert out.strip() == f"pid={process.pid} model= {' '.join(arguments)}", "the same process, so signals reach it"


def test_a_model_that_is_named_is_served(entry: Any) -> None:
    process, out, _ = entry("serve", MODEL_PATH="/models/x.gguf")
    assert out.strip() == f"pid={process.pid} model=/models/x.gguf serve"


def test_what_was_pulled_is_served(entry: Any, pulled_model: Path) -> None:
    _, out, _ = entry("serve", PULL_MODEL="default", MODEL_DIR=str(pulled_model.parent))
    assert f"model={pulled_model} serve" in out


def test_a_pull_that_fails_serves_nothing(entry: Any) -> None:
    process, out, err = entry("serve", PULL_MODEL="no-such-model")
    assert process.returncode == 1
    assert out == ""
    assert "no-such-model" in err


@pytest.fixture
def readiness() -> Iterator[tuple[int, list[int]]]:
    """A stand-in for the service on a port; its /readyz replies with the status in the list."""
    status = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0] if self.path == "/readyz" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port, status
        server.shutdown()
        thread.join()


def test_the_health_check_tells_readiness(readiness: tuple[int, list[int]]) -> None:
    check = load_script(DEPLOY / "image" / "healthcheck.py")
    port, status = readiness
    assert check.main({"PORT": str(port)}) == 0
    assert check.main({"LLMCORE_PORT": str(port), "PORT": "1"}) == 0
    status[0] = 503
    assert check.main({"PORT": str(port)}) == 1
    assert check.main({"PORT": "1"}) == 1, "nobody listens there"
    assert check.main({"PORT": str(port), "LLMCORE_TLS_CERT": "cert.pem"}) == 1, "it does not speak TLS"
