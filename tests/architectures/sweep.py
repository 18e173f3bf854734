"""One architecture and one type of weights, computed by plain llama.cpp and by llmcore, and compared.

`python -m tests.architectures.sweep ARCHITECTURE TYPE FOLDER` prints what it finds, a line of JSON each, as it goes. It is a
process of its own, since some architectures end it: what was printed before, and at which stage, is kept (`run_case`).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from llmcore import log
from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import LlmcoreError
from llmcore.gguf.header import read_header
from llmcore.library.llm import LLM
from llmcore.llama.context import Context
from llmcore.llama.ffi.library import load_library
from llmcore.llama.kv_memory import KVMemory
from llmcore.llama.model import Model
from tests.architectures import answers, probe
from tests.architectures.findings import Ended, Findings
from tests.architectures.layout import LayoutError
from tests.architectures.model import write_architecture, write_dequantized, write_quantized

TYPES = ("F32", "Q8_0", "Q4_K_M")

_ROOT = Path(__file__).parent.parent.parent
_TIMEOUT_S = 120
# Waiting threads sleep, so that other cases can use their CPU.
_ENVIRON = {"OMP_WAIT_POLICY": "passive"}
# Stages of plain llama.cpp. One that ends the process is left out in a second run, so that llmcore's stages are run all the same.
_THEIRS = ("plain", "ggml", "ggml_flash")

_EVENTS = ("self_check_failed", "self_check_error", "self_check_overridden", "kernels_off", "attention_left_out")

Pair = tuple[probe.Floats, probe.Floats]


def run_case(architecture: str, quant: str, folder: Path) -> Findings:
    """Runs a case in a child process; again without a stage of plain llama.cpp if that stage ended it."""
    ended: list[Ended] = []
    while True:
        skipped = [each.stage for each in ended]
        findings = _run_child(architecture, quant, folder, skipped)
        last = findings.ended[-1] if findings.ended else None
        findings.ended[:0] = ended
        if last is None or last.stage not in _THEIRS:
            return findings
        ended.append(last)


def _run_child(architecture: str, quant: str, folder: Path, skipped: list[str]) -> Findings:
    command = [sys.executable, "-m", "tests.architectures.sweep", architecture, quant, str(folder), *skipped]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=os.environ | _ENVIRON,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
        )
        out, err, code = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        out, err = (part.decode("utf-8", "replace") if part else "" for part in (late.stdout, late.stderr))
        code = -signal.SIGKILL
    findings = Findings(architecture, quant, _commit(), seconds=time.monotonic() - started)
    stage = "start"
    for line in out.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            said = json.loads(line)
            stage = said.pop("stage", stage)
            findings.take(said)
    if code:
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        findings.ended.append(Ended(stage, how, _reason(err)))
    return findings


@functools.cache
def _commit() -> str:
    """Returns the commit, with "-dirty" if files differ from it; "" outside of a clone."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=_ROOT, capture_output=True, text=True)
    return git.stdout.strip()


def _reason(text: str) -> str:
    """Returns the line with the reason: an assertion of llama.cpp before the stack trace, or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "GGML_ASSERT" in line or "what():" in line or "failed" in line]
    return (told or lines or [""])[-1]


def _say(**found: object) -> None:
    print(json.dumps(found), flush=True)


class _Case:
    """Runs in the child."""

    def __init__(self, architecture: str, quant: str, folder: Path, skipped: list[str]) -> None:
        self._skipped = skipped
        self._source = folder / f"{architecture}.gguf"
        self._path = folder / f"{architecture}-{quant}.gguf" if quant != "F32" else self._source
        self._exact = folder / f"{architecture}-{quant}-exact.gguf" if quant != "F32" else self._source
        self._profiles = folder / "profiles"
        self._architecture, self._quant = architecture, quant

    def run(self) -> None:
        with self._stage("make"):
            self._make()
        with self._stage("load"), Model(self._path, kernels="auto") as model:
            header, packed = model.header, model.packed_bytes
            generates = model.can_generate
            _say(kernels=model.kernels, packed=packed / max(header.tensor_bytes, 1), generates=generates)
            _say(kind=_memory_kind(model), has_flash=model.attention_shape.has_flash)
        (self._compare_logits if generates else self._compare_vectors)()

    def _make(self) -> None:
        if not self._source.exists():
            write_architecture(self._source, self._architecture)
        if self._quant != "F32":
            write_quantized(self._path, self._source, self._quant)
            write_dequantized(self._exact, self._path)
        _say(types=sorted({tensor.type.name for tensor in read_header(self._path).tensors}))

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Marks a stage. An error in it ends the case and is reported with the stage."""
        _say(stage=name)
        try:
            yield
        except (LlmcoreError, LayoutError) as error:
            _say(refused=[name, type(error).__name__, getattr(error, "message", str(error))])
            raise SystemExit(0) from None

    def _compare(self, settings: dict[str, Callable[[Path, str], Pair]]) -> None:
        """Computes with several settings, with and without our kernels, and reports the errors against plain llama.cpp.

        Errors without our kernels are llama.cpp's own rounding, by which ours are judged."""
        if "plain" in self._skipped:
            plain = None
        else:
            with self._stage("plain"):
                plain = next(iter(settings.values()))(self._exact, "off")
        for name, compute in settings.items():
            suffix = f"_{name}" if name else ""
            for who, kernels in (("ggml", "off"), ("ours", "auto")):
                if who + suffix in self._skipped:
                    continue
                with self._stage(who + suffix):
                    before = load_library().lc_kernels_unpacked_bytes()
                    found = compute(self._path, kernels)
                    if load_library().lc_kernels_unpacked_bytes() != before:
                        _say(copies=True)
                    if plain is not None:
                        _say(errors={who + suffix: [probe.error(*each) for each in zip(found, plain, strict=True)]})

    def _compare_logits(self) -> None:
        def by(flash: bool, cells: str) -> Callable[[Path, str], Pair]:
            def compute(path: Path, kernels: str) -> Pair:
                with Model(path, kernels=kernels) as model:
                    return probe.logits(model, probe.params(flash=flash, cells=cells))

            return compute

        settings = {"": by(False, "f16")}
        shape = self._shape_problems()
        if not shape["flash"]:
            settings["flash"] = by(True, "f16")
        if not shape["q8_0"]:
            settings["q8_0"] = by(True, "q8_0")
        self._compare(settings)
        for flash in (False, True) if "flash" in settings else (False,):
            self._continue("_flash" if flash else "", flash)
        with self._stage("engine"):
            self._answer()

    def _shape_problems(self) -> dict[str, str]:
        """Returns why flash attention, or q8_0 cells with it, cannot be used; "" if they can."""
        with Model(self._path, kernels="off", vocab_only=True) as model:
            shape = model.attention_shape
            found = {name: shape.problem(True, cells, cells) for name, cells in (("flash", "f16"), ("q8_0", "q8_0"))}
        problems = {name: "" if error is None else error.message for name, error in found.items()}
        _say(problems=problems)
        return problems

    def _continue(self, suffix: str, flash: bool) -> None:
        with Model(self._path, kernels="auto") as model, Context(model, probe.params(flash=flash)) as context:
            memory = KVMemory(context)
            _say(cuttable=memory.is_cuttable, sliceable=memory.is_sliceable)
            steps = probe.Probe(context)
            for name, step in steps.continuations.items():
                with self._stage(name + suffix):
                    _say(continued={name + suffix: step()})

    def _answer(self) -> None:
        config = EngineConfig(model_path=str(self._path), n_ctx=256, n_slots=3, profile_dir=str(self._profiles))
        with Engine.open(config) as engine:
            _say(engine=answers.compare(engine))

    def _compare_vectors(self) -> None:
        def by(flash: str) -> Callable[[Path, str], Pair]:
            def compute(path: Path, kernels: str) -> Pair:
                # The file's own pooling, or the mean if it names none.
                with Model(path, kernels="off", vocab_only=True) as model:
                    pooling = "auto" if model.pooling != "none" else "mean"
                with LLM(path, kernels=kernels, flash_attn=flash, pooling=pooling) as llm:
                    return probe.vectors(llm.embed)

            return compute

        settings = {"": by("off")}
        if not self._shape_problems()["flash"]:
            settings["flash"] = by("on")
        self._compare(settings)


class _Telling(logging.Handler):
    """Reports the events by which settings or kernels were given up."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg in _EVENTS:
            self._told.append(str(record.msg))
            _say(events=self._told)

    _told: list[str]

    def __init__(self) -> None:
        super().__init__()
        self._told = []


def _memory_kind(model: Model) -> str:
    if not model.can_generate:
        return "encoder"
    kinds = {"recurrent": model.is_recurrent, "hybrid": model.is_hybrid, "window": model.n_swa > 0}
    return next((kind for kind, has in kinds.items() if has), "full")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("architecture")
    parser.add_argument("type", choices=TYPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("skipped", nargs="*", help="stages to leave out")
    options = parser.parse_args()
    log.configure("warning")
    logging.getLogger("llmcore").addHandler(_Telling())
    _Case(options.architecture, options.type, options.folder, options.skipped).run()


if __name__ == "__main__":
    main()
