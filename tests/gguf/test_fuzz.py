"""Damaged model files, each opened as the worker does it, in a child: a typed error or a load, never a death or a hang.

    GGUF_MUTATIONS=2000 python -m pytest tests/gguf/test_fuzz.py

runs as many as the name says; by default there are few, and always the same ones. GGUF_VARIATIONS=all runs every change of every
key (some 7,700 files, minutes) instead of a sample.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gguf_mutations import Parts, mutated, take_apart
from tests.gguf_variations import Variation, variations
from tests.small_vocabularies import TOKENIZERS, write_small_vocabulary
from tests.tiny_models import write_tiny_bert, write_tiny_gemma3, write_tiny_llama, write_tiny_mamba

WRITERS: dict[str, Callable[..., Path]] = {
    "llama": write_tiny_llama,
    "gemma3": write_tiny_gemma3,
    "mamba": write_tiny_mamba,
    "bert": write_tiny_bert,
}
ROOT = Path(__file__).parents[2]
# One variation of a model in so many is run: drawn by chance, but the same ones each time.
VARIATIONS_STEP = 1 if os.environ.get("GGUF_VARIATIONS") == "all" else 40
N_MUTATIONS = int(os.environ.get("GGUF_MUTATIONS", "150"))
# Far more than any of these files takes: this is about those that never come back.
HANG_S = 60.0


class Loader:
    """A child that opens files, one after the other; another one takes its place where it ends."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> str:
        """Returns the loader's output, "hang", or "signal N"."""
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


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", WRITERS)
def test_no_value_of_a_key_is_more_than_an_error(kind: str, tmp_path: Path) -> None:
    """Opened, and a first prompt computed."""
    vocabulary = write_small_vocabulary(tmp_path / "v.gguf", "bert" if kind == "bert" else "llama")
    check(variations(take_apart(WRITERS[kind](tmp_path / "m.gguf", vocab=vocabulary, n_ctx=128))), tmp_path)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_no_vocabulary_is_more_than_an_error(tokenizer: str, tmp_path: Path) -> None:
    vocabulary = write_small_vocabulary(tmp_path / "v.gguf", tokenizer)
    parts = take_apart(write_tiny_llama(tmp_path / "m.gguf", vocab=vocabulary, n_ctx=128))
    check((each for each in variations(parts) if "token" in each[0]), tmp_path)


# Each ended the process, or never came back, before there were rules.
KNOWN = {
    "llama": ("attention.layer_norm_rms_epsilon = -1.0", "attention.layer_norm_rms_epsilon = nan"),
    "gemma3": tuple(
        f"with rope.dimension_count{suffix} = {n}" for suffix in ("", "_swa") for n in (0, 1, 31, 64, 2**32 - 1)
    ),
    "bert": ("attention.layer_norm_epsilon = -1.0", "with embedding_length_out = 257", "with attention.key_length = 0"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_those_that_were(kind: str, tmp_path: Path) -> None:
    vocabulary = write_small_vocabulary(tmp_path / "v.gguf", "bert" if kind == "bert" else "llama")
    parts = take_apart(WRITERS[kind](tmp_path / "m.gguf", vocab=vocabulary, n_ctx=128))
    found = [each for each in variations(parts) if each[0].removeprefix(f"{kind}.") in KNOWN[kind]]
    assert {name.removeprefix(f"{kind}.") for name, _ in found} == set(KNOWN[kind])
    outcomes = check(iter(found), tmp_path, step=1)
    assert not outcomes["ok"]


def check(changed: Iterator[Variation], folder: Path, *, step: int = VARIATIONS_STEP) -> Counter[str]:
    """Opens every so-manieth. Returns how often each outcome came."""
    loader = Loader()
    outcomes: Counter[str] = Counter()
    faults = []
    for name, parts in itertools.islice(changed, 0, None, step):
        path = folder / "changed.gguf"
        path.write_bytes(parts.join())
        said = loader.load(path)
        outcomes[said.split("(")[0]] += 1
        if not said.endswith("Error") and said != "ok":
            faults.append(f"{name}: {said}")
    loader.close()
    print(dict(outcomes))
    assert not faults, faults[:10]
    return outcomes


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
