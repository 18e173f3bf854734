"""Fingerprints of model files and of machines, without reading gigabytes."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

# Metadata and tensor table do not differ between fine-tunes of a model; samples of the weights do.
_SAMPLES = 16
_SAMPLE_BYTES = 64 * 1024
_HEAD_BYTES = 1024 * 1024

# Keys of /proc/cpuinfo that decide which kernels run, and how fast.
_CPU_KEYS = ("model name", "CPU implementer", "CPU part", "flags", "Features", "cache size")


def model_fingerprint(path: str | os.PathLike[str]) -> str:
    """Returns 32 hex digits of a hash of a model file's size, beginning and samples of its weights."""
    digest = hashlib.blake2b(digest_size=16)
    size = os.path.getsize(path)
    digest.update(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(_HEAD_BYTES))
        for i in range(_SAMPLES):
            file.seek(size * (i + 1) // (_SAMPLES + 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def machine_fingerprint(root: Path = Path("/")) -> str:
    """Returns 16 hex digits of a hash of this machine's type of CPU: equal on machines that run the same kernels at the same
    speed."""
    found: dict[str, str] = {}
    try:
        lines = (root / "proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in _CPU_KEYS:
            found.setdefault(key.strip(), " ".join(sorted(value.split())))
    text = platform.machine() + repr(sorted(found.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def cpu_name(root: Path = Path("/")) -> str:
    """Returns the CPU's name; the architecture if the kernel reports no name."""
    try:
        lines = (root / "proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(names, platform.machine())
