"""Samples of a registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest


def lines(registry: CollectorRegistry, prefix: str = "") -> list[str]:
    """Samples whose names begin with `prefix`, without those of times of creation."""
    page = generate_latest(registry).decode()
    return [
        line for line in page.splitlines() if line.startswith(prefix) and line[:1] != "#" and "_created" not in line
    ]
