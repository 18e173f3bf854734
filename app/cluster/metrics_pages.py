"""Prometheus pages of several replicas merged into one, with a label for the replica."""

from __future__ import annotations

from collections.abc import Mapping


def merge_pages(pages: Mapping[str, str]) -> str:
    """Merges pages in Prometheus' text format, given by replica name. Each metric has its HELP and TYPE once, followed by the
    samples of all replicas, as the format requires."""
    comments: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for replica, page in pages.items():
        metric = ""
        for line in page.splitlines():
            if line.startswith("#"):
                _, _, metric, *_ = line.split(" ", 3)
                known = comments.setdefault(metric, [])
                if line not in known:
                    known.append(line)
            elif line:
                samples.setdefault(metric, []).append(_add_label(line, replica))
    metrics = [*comments, *(name for name in samples if name not in comments)]
    lines = [line for name in metrics for line in [*comments.get(name, []), *samples.get(name, [])]]
    return "".join(f"{line}\n" for line in lines)


def _add_label(line: str, replica: str) -> str:
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{replica="{replica}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{replica="{replica}"}} {value}'
