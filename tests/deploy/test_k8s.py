"""deploy/k8s: the manifests agree with the service and with each other. Schemas: docs/DEPLOYMENT.md, "Kubernetes"."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from llmcore import config
from llmcore.config import EngineConfig
from llmcore.hub.registry import load_registry
from llmcore_app.config import ServerConfig
from llmcore_app.http.probes import PROBE_PATHS

FOLDER = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = ("small", "production")


def load(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))
    return loaded


def environment(overlay: str) -> dict[str, str]:
    """Variables of the overlay's ConfigMap."""
    values: dict[str, str] = {}
    for path in (FOLDER / "base" / "llm.env", FOLDER / "overlays" / overlay / "llm.env"):
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            values |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return values


def pod() -> dict[str, Any]:
    found: dict[str, Any] = load("base/deployment.yaml")["spec"]["template"]["spec"]
    return found


def pulled(overlay: str) -> str:
    """Name of the model that the init-container fetches."""
    spec = pod()
    if overlay == "small":
        spec = load("overlays/small/deployment.yaml")["spec"]["template"]["spec"]
    command, name = spec["initContainers"][0]["args"]
    assert command == "pull"
    return str(name)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_takes_the_environment(overlay: str) -> None:
    environ = environment(overlay)
    engine = config.load(EngineConfig, {}, environ)
    server = config.load(ServerConfig, {}, environ)
    assert engine.model_path.startswith(environ["MODEL_DIR"] + "/")
    assert server.model_name == pulled(overlay)
    container = pod()["containers"][0]
    assert [each["containerPort"] for each in container["ports"]] == [server.port, server.admin_port]
    assert server.host == server.admin_host == "0.0.0.0"
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert Path(server.api_keys_file).parent == Path(mounts["api-keys"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_pulled_is_what_is_served(overlay: str) -> None:
    models = {model.name: model for model in load_registry().models}
    if pulled(overlay) not in models:
        pytest.skip(f"{pulled(overlay)} is not in model_config.json")
    environ = environment(overlay)
    assert environ["MODEL_PATH"] == f"{environ['MODEL_DIR']}/{models[pulled(overlay)].file}"


def test_no_variable_of_the_environment_is_left_to_chance() -> None:
    """A Service called llmcore would make LLMCORE_PORT=tcp://…"""
    assert pod()["enableServiceLinks"] is False


def test_there_is_time_to_drain() -> None:
    sleep_s = int(pod()["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    for overlay in OVERLAYS:
        drain_s = config.load(ServerConfig, {}, environment(overlay)).drain_s
        assert pod()["terminationGracePeriodSeconds"] >= sleep_s + drain_s + 10


def test_probes_need_no_key() -> None:
    container = pod()["containers"][0]
    paths = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]
    assert paths == ["/readyz", "/livez", "/readyz"]
    assert set(paths) <= PROBE_PATHS


def test_hardened() -> None:
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_resources() -> None:
    resources = pod()["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"cpu": "4", "memory": "16Gi"}}


def test_selectors_find_the_pods() -> None:
    wanted = {"app.kubernetes.io/name": "llm"}
    kustomization = load("base/kustomization.yaml")["labels"][0]
    assert kustomization["includeTemplates"] is True
    assert wanted.items() <= kustomization["pairs"].items()
    assert load("base/deployment.yaml")["spec"]["selector"]["matchLabels"] == wanted
    assert load("base/service.yaml")["spec"]["selector"] == wanted
    assert load("base/disruption.yaml")["spec"]["selector"]["matchLabels"] == wanted
    assert load("base/network.yaml")["spec"]["podSelector"]["matchLabels"] == wanted
    assert load("base/servicemonitor.yaml")["spec"]["selector"]["matchLabels"] == wanted


def test_the_autoscaler_asks_for_what_the_adapter_makes() -> None:
    made = {rule["name"]["as"] for rule in load("prometheus-adapter.yaml")["rules"]}
    assert {each["pods"]["metric"]["name"] for each in load("base/autoscaler.yaml")["spec"]["metrics"]} == made


def test_every_file_is_part_of_it() -> None:
    listed = {FOLDER / "base" / name for name in load("base/kustomization.yaml")["resources"]}
    assert {path for path in (FOLDER / "base").glob("*.yaml") if path.name != "kustomization.yaml"} == listed
    for overlay in OVERLAYS:
        folder = FOLDER / "overlays" / overlay
        patches = load(f"overlays/{overlay}/kustomization.yaml")["patches"]
        named = {folder / each["path"] for each in patches if "path" in each}
        assert {path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"} == named


def podman_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("podman", FOLDER / "podman.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_podman_gets_what_it_knows() -> None:
    documents = [load("base/namespace.yaml"), load("base/deployment.yaml"), load("base/service.yaml")]
    (deployment,) = podman_script().playable(documents, "localhost/llm:test", "/keys")
    spec = deployment["spec"]["template"]["spec"]
    assert {each["image"] for each in (*spec["initContainers"], *spec["containers"])} == {"localhost/llm:test"}
    (keys,) = (each for each in spec["volumes"] if each["name"] == "api-keys")
    assert keys == {"name": "api-keys", "hostPath": {"path": "/keys", "type": "Directory"}}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize(overlay: str) -> None:
    """Builds with kustomize: the patches apply, and removed parts are absent."""
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    documents = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
    spec = documents["Deployment"]["spec"]["template"]["spec"]
    assert documents["ConfigMap"]["data"] == environment(overlay)
    assert spec["initContainers"][0]["args"] == ["pull", pulled(overlay)]
    assert spec["containers"][0]["envFrom"][0]["configMapRef"]["name"] == documents["ConfigMap"]["metadata"]["name"]
    assert {each["metadata"].get("namespace", "llm") for each in documents.values()} == {"llm"}
    (clients, _) = documents["NetworkPolicy"]["spec"]["ingress"]
    assert clients["from"][0] == {"podSelector": {"matchLabels": {"llm-client": "true"}}}
    if overlay == "small":
        assert "HorizontalPodAutoscaler" not in documents
        assert documents["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
        assert spec["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
    else:
        assert documents["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 3
        assert "replicas" not in documents["Deployment"]["spec"]
