"""Fingerprints differ for different files and machines, and only for those."""

from __future__ import annotations

import os
from pathlib import Path

from llmcore.gguf.fingerprint import machine_fingerprint, model_fingerprint


def test_a_model_is_known_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    content = bytearray(os.urandom(3_000_000))
    first, second = tmp_path / "a.gguf", tmp_path / "b.gguf"
    first.write_bytes(content)
    second.write_bytes(content)
    assert model_fingerprint(first) == model_fingerprint(second)
    content[len(content) // 2] ^= 1  # the middle is sampled
    middle = len(content) * 8 // 17
    content[middle] ^= 1
    second.write_bytes(content)
    assert model_fingerprint(first) != model_fingerprint(second)


def test_size_and_beginning_count(tmp_path: Path) -> None:
    short, long = tmp_path / "a", tmp_path / "b"
    short.write_bytes(b"abc")
    long.write_bytes(b"abcd")
    assert model_fingerprint(short) != model_fingerprint(long)


def cpuinfo(root: Path, text: str) -> Path:
    (root / "proc").mkdir(parents=True, exist_ok=True)
    (root / "proc/cpuinfo").write_text(text)
    return root


def test_a_machine_is_known_by_what_its_kernels_depend_on(tmp_path: Path) -> None:
    one = "processor: 0\nmodel name: X\nflags: sse avx2\ncpu MHz: {}\nprocessor: 1\nmodel name: X\nflags: avx2 sse\n"
    slow, fast = cpuinfo(tmp_path / "slow", one.format(1000)), cpuinfo(tmp_path / "fast", one.format(2000))
    other = cpuinfo(tmp_path / "other", one.format(1000).replace("avx2", "avx512f"))
    assert machine_fingerprint(slow) == machine_fingerprint(fast)
    assert machine_fingerprint(slow) != machine_fingerprint(other)
    assert machine_fingerprint(tmp_path / "none")
    assert machine_fingerprint() == machine_fingerprint()
