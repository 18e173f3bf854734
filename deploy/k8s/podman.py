#!/usr/bin/env python3
"""Converts the Kubernetes manifests to ones that `podman play kube` can run, to test the Deployment without a cluster.

    kubectl kustomize deploy/k8s/overlays/small | python3 deploy/k8s/podman.py IMAGE KEYS_FOLDER | podman play kube -

Needs PyYAML. The changes work around limits of podman 4.3.1:

- Only ConfigMap and Deployment are kept. podman does not support the other kinds, and refuses a claim whose volume exists already
  (create it first: `podman volume create llm-models`).
- The Secret becomes a folder of the host, because podman mounts its values as undecoded base64.
- restartPolicy becomes OnFailure, because with Always podman restarts an init container that has exited.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import yaml


def playable(documents: list[dict[str, Any]], image: str, keys_folder: str) -> list[dict[str, Any]]:
    """Returns the documents for podman. Changes the given ones in place."""
    kept = [each for each in documents if each["kind"] in ("ConfigMap", "Deployment")]
    for document in kept:
        if document["kind"] == "Deployment":
            _change_pod(document["spec"]["template"]["spec"], image, keys_folder)
    return kept


def _change_pod(pod: dict[str, Any], image: str, keys_folder: str) -> None:
    pod["restartPolicy"] = "OnFailure"
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = image
    for volume in pod["volumes"]:
        if volume.pop("secret", None):
            volume["hostPath"] = {"path": keys_folder, "type": "Directory"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", help="image of the service that podman has")
    parser.add_argument("keys_folder", help="folder of this machine with the file api-keys")
    args = parser.parse_args()
    documents = [each for each in yaml.safe_load_all(sys.stdin) if each]
    yaml.safe_dump_all(playable(documents, args.image, args.keys_folder), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
