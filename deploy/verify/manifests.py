"""Validates each object of a file of manifests with Kubernetes' schemas. deploy/verify.sh runs it with its tools.

Objects of other API groups have no schema; a line says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import kubernetes_validate
import yaml

KUBERNETES = "1.31"


def validate(path: str) -> int:
    """Prints a line for each object. Returns the number of invalid objects."""
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


if __name__ == "__main__":
    sys.exit(1 if validate(sys.argv[1]) else 0)
