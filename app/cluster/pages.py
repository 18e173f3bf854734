"""Prometheus pages of several replicas as one: each sample gets the replica's name."""

from __future__ import annotations

from collections.abc import Mapping


def merge_pages(pages: Mapping[str, str]) -> str:
    """One page; a metric's samples stand together, its HELP and TYPE once."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for replica, page in pages.items():
        family = ""
        for line in page.splitlines():
            if line.startswith("#"):
                _, _, family, *_ = line.split(" ", 3)
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif line:
                samples.setdefault(family, []).append(_with_label(line, replica))
    names = [*heads, *(name for name in samples if name not in heads)]
    lines = [line for name in names for line in [*heads.get(name, []), *samples.get(name, [])]]
    return "".join(f"{line}\n" for line in lines)


def _with_label(line: str, replica: str) -> str:
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{replica="{replica}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{replica="{replica}"}} {value}'
