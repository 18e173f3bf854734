"""Fetch a model into the model folder."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from llmcore.errors import ConfigError
from llmcore.hub import client, model_store, provenance, repository
from llmcore.hub.reference import at_revision, parse_reference
from llmcore.hub.registry import Registry, load_registry

_PLAIN_STEP = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        default="",
        help="a known model (see --list); or a repository of the hub as OWNER/NAME, OWNER/NAME:QUANT, "
        "OWNER/NAME/FILE.gguf or the URL of a file in it; without a name, the default model",
    )
    parser.add_argument("--list", action="store_true", help="list the known models, and what is here, and end")
    parser.add_argument("--revision", default="", help="commit, branch or tag of the repository (default: main)")
    parser.add_argument(
        "--model-dir",
        type=Path,
        default=None,
        help="folder for model files (default: llmcore/models in the user's cache folder; environment: MODEL_DIR)",
    )
    parser.add_argument(
        "--model-config",
        type=Path,
        default=None,
        help="JSON file of models that extends the known ones, see docs/DEPLOYMENT.md (environment: LLMCORE_MODEL_CONFIG)",
    )


def run(args: argparse.Namespace) -> int:
    registry = load_registry(args.model_config) if args.model_config else model_store.registry(os.environ)
    folder = args.model_dir or model_store.model_dir(os.environ)
    if args.list:
        print("\n".join([*_known(registry, folder), *_pulled(folder)]))
        return 0
    reference = parse_reference(args.name, client.endpoint(os.environ))
    if reference is None and args.revision:
        raise ConfigError("--revision is for repositories; a known model has its own", param="revision")
    console = Console(stderr=True)
    with sigterm_unwinds(), terminal(console) if console.is_terminal else plain() as report:
        if reference is None:
            path = model_store.pull(registry.find(args.name), folder, progress=report.progress, notify=report.notify)
        else:
            reference = at_revision(reference, args.revision) if args.revision else reference
            path = repository.pull_reference(reference, folder, progress=report.progress, notify=report.notify)
    _print_path(path)
    return 0


def _print_path(path: Path) -> None:
    """Prints the path with its own bytes, for scripts."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        sys.stdout.buffer.flush()
    else:
        print(path)


def _known(registry: Registry, folder: Path) -> Iterator[str]:
    for model in registry.models:
        notes = [f"{model.size_bytes / 1e6:.0f} MB"] if model.size_bytes else []
        notes += [f"needs {model.memory_bytes / 1e9:.1f} GB of memory"] if model.memory_bytes else []
        notes += [f"context {model.n_ctx}"] if model.n_ctx else []
        notes += [model.licence] if model.licence else []
        notes += ["default"] if model.name == registry.default else []
        notes += ["here"] if model_store.find(model, folder) else []
        yield " ".join([f"{model.name} ", *filter(None, [model.description]), f"({', '.join(notes)})"])


def _pulled(folder: Path) -> Iterator[str]:
    """Lines for the files that were pulled from repositories; known models are in the folder itself."""
    for path, each in provenance.below(folder):
        if path.parent != folder:
            yield f"{each.repo}/{each.file}  {path} ({each.size_bytes / 1e6:.0f} MB, revision {each.revision})"


class PlainPullReport:
    """Reports progress as lines, for logs and pipes."""

    def __init__(self) -> None:
        self._fraction = 0.0  # reported last

    def notify(self, line: str) -> None:
        self._fraction = 0.0
        print(f"llmcore: {line}", file=sys.stderr, flush=True)

    def progress(self, done: int, total: int) -> None:
        fraction = done / total if total else 1.0
        if fraction >= self._fraction + _PLAIN_STEP:
            self._fraction = fraction // _PLAIN_STEP * _PLAIN_STEP
            print(
                f"llmcore: {self._fraction:.0%} ({done / 1e6:.0f} of {total / 1e6:.0f} MB)", file=sys.stderr, flush=True
            )


class BarPullReport:
    """Reports progress as a line for each phase and a bar below, for terminals."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("", visible=False)

    def notify(self, line: str) -> None:
        self._bars.reset(self._task, visible=False)
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def progress(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total, visible=True)


@contextlib.contextmanager
def plain() -> Iterator[PlainPullReport]:
    yield PlainPullReport()


@contextlib.contextmanager
def terminal(console: Console) -> Iterator[BarPullReport]:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield BarPullReport(bars)


@contextlib.contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Makes SIGTERM, and SIGHUP unless it is ignored (nohup), raise SystemExit within the block, so that partial files are
    removed."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    handled = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN]
    before = [(each, signal.signal(each, end)) for each in handled]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
