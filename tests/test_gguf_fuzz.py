"""Damaged model files, each opened as the worker does it, in a child: a typed error or a load, never a death or a hang.

    GGUF_MUTATIONS=2000 python -m pytest tests/test_gguf_fuzz.py

runs as many as the name says; by default there are few, and always the same ones.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.gguf_mutations import Parts, mutated, take_apart

ROOT = Path(__file__).parent.parent
N_MUTATIONS = int(os.environ.get("GGUF_MUTATIONS", "150"))
# Far more than any of these files takes: this is about those that never come back.
HANG_S = 60.0


class Loader:
    """A child that opens files, one after the other; another one takes its place where it ends."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> str:
        """What it said, "hang", or "signal N"."""
        child = self._child = self._child or subprocess.Popen(
            [sys.executable, "-m", "tests.gguf_loader"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(path, file=child.stdin, flush=True)
        readable, _, _ = select.select([child.stdout], [], [], HANG_S)
        said = child.stdout.readline().strip() if readable else "hang"
        if said in ("", "hang"):
            self.close()
        return said or f"signal {-child.returncode}"

    def close(self) -> None:
        """Ends the child, if it does not end by itself now that nothing more comes."""
        child, self._child = self._child, None
        if child is None:
            return
        with child:
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["plain", "bert", "mamba"])
def test_no_damage_is_more_than_an_error(
    kind: str, tmp_path: Path, tiny_model: Path, tiny_bert: Path, tiny_recurrent: Path
) -> None:
    source = {"plain": tiny_model, "bert": tiny_bert, "mamba": tiny_recurrent}[kind]
    parts = take_apart(source)
    assert parts.join() == source.read_bytes(), "the mutations know the format"
    n = N_MUTATIONS * 8 // 10 if kind == "plain" else N_MUTATIONS // 10
    outcomes, faults = run(parts, range(n), tmp_path)
    print(dict(outcomes))
    assert not faults, faults[:10]
    assert outcomes["ok"]
    assert len(outcomes) > 3


def run(parts: Parts, seeds: range, folder: Path) -> tuple[Counter[str], list[str]]:
    loader = Loader()
    outcomes: Counter[str] = Counter()
    faults = []
    for seed in seeds:
        path = folder / f"{seed}.gguf"
        path.write_bytes(mutated(parts, seed))
        said = loader.load(path)
        path.unlink(missing_ok=True)
        outcomes[said.split("(")[0]] += 1
        if not said.endswith("Error") and said not in ("ok", "ModelLoadAborted"):
            faults.append(f"seed {seed}: {said}")
    loader.close()
    return outcomes, faults
