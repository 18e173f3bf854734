"""Manifests for deploy/verify.sh, by the tools that it installs: `validate FILE`, and `pod FILE IMAGE VOLUME KEYS`.

`validate` compares each object with Kubernetes' own schemas; what is of another API group than Kubernetes' has none there,
and is told. `pod` prints what `podman play kube` can run of a rendering: the Deployment with its ConfigMap, with IMAGE for
its image, the podman volume VOLUME for its claim, and a Secret of KEYS (text of a file of API keys) in place of the real one.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

KUBERNETES = "1.31"


def validate(path: str) -> int:
    n_wrong = 0
    for item in yaml.safe_load_all(Path(path).read_text()):
        name = f"{item['kind']} {item['metadata']['name']}"
        group = item["apiVersion"].rpartition("/")[0]
        if "." in group and not group.endswith(".k8s.io"):
            print(f"{name}: of {group}, which Kubernetes has no schema for")
            continue
        try:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)
            print(f"{name}: as the schema wants it")
        except kubernetes_validate.ValidationError as error:
            print(f"{name}: {error.message}")
            n_wrong += 1
    return n_wrong


def pod(path: str, image: str, volume: str, keys: str) -> int:
    items = {item["kind"]: item for item in yaml.safe_load_all(Path(path).read_text()) if item}
    deployment = items["Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    deployment["metadata"]["name"] = volume
    deployment["spec"]["replicas"] = 1
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        container["image"] = image
        container["imagePullPolicy"] = "Never"
    for each in spec["volumes"]:
        if "persistentVolumeClaim" in each:
            each["persistentVolumeClaim"]["claimName"] = f"{volume}-models"
        if "secret" in each:
            each["secret"]["secretName"] = f"{volume}-keys"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{volume}-keys"}}
    printed: list[Any] = [items["ConfigMap"], {**secret, "data": {"api-keys": base64.b64encode(keys.encode()).decode()}}, deployment]
    print(yaml.safe_dump_all(printed))
    return 0


if __name__ == "__main__":
    sys.exit({"validate": validate, "pod": pod}[sys.argv[1]](*sys.argv[2:]))
