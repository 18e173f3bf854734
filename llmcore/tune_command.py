"""Measure which settings are fastest for a model on this machine, and keep them for serving."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from llmcore import config, hub, log
from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, ModelMissingError
from llmcore.fingerprint import cpu_name
from llmcore.machine.os_text import system_name
from llmcore.model import Model
from llmcore.search import Ask, Choice, Space
from llmcore.trial_child import TrialChild
from llmcore.trials import Candidate, Job, Trial
from llmcore.tune_plot import check_plot_path, write_plot
from llmcore.tune_report import ReportRow, report_rows, unsteadiness
from llmcore.tuned_profile import VERSION, Conditions, TunedProfile, identity_of, profile_folder, store
from llmcore.tuning import Tuning, plan

# What is tuned unless it is given, and under which conditions.
OPTIONS = (
    *("threads", "threads_batch", "n_batch", "n_ubatch", "blas", "flash_attn", "cache_type_k", "cache_type_v"),
    *("n_ctx", "n_slots", "mmap", "repack", "kernels", "profile_dir"),
)
_TIME_LIMIT_S = 600.0

# Finals of one candidate that differ by more than this part say little.
_UNSTEADY = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        default="",
        help="a GGUF file, or a known model that was pulled (default: MODEL_PATH, or else the default model)",
    )
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        default=_TIME_LIMIT_S,
        metavar="SECONDS",
        help=f"end after so long, with what is found until then (default: {_TIME_LIMIT_S:.0f})",
    )
    parser.add_argument("--plot", type=Path, default=None, help="draw what was measured: a file in .svg, or .png")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead of a table")
    config.add_flags(parser, EngineConfig, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Status 0 if something was chosen and stored, 1 if nothing was, 130 after Ctrl-C."""
    log.configure("error")
    flags = {name: value for name, value in vars(args).items() if name in OPTIONS}
    engine = config.load(EngineConfig, {**flags, **_model_flag(args.model)}, os.environ)
    if args.plot is not None:
        check_plot_path(args.plot)
    with Model(engine.model_path, vocab_only=True) as model:
        space, job = plan(engine, model)
        description = str(model.header.metadata.get("general.name") or system_name(Path(model.path).name))
    console = Console(stderr=True)
    is_interrupted = False
    with TrialChild(job) as child, _told(console) as told:
        tuning = Tuning(space, child, args.time_limit, told)
        told.expect(tuning.n_expected)
        try:
            tuning.run()
        except KeyboardInterrupt:
            is_interrupted = True
    choice = None if is_interrupted else tuning.choice
    profile = _profile(engine, space, job, tuning, choice, description)
    _show(args, profile, choice, description)
    if choice is not None and choice.gain_missed:
        _say(
            f"the default stays: another one took {choice.gain_missed:.0%} less, but the default, undisturbed, might take up to "
            f"{choice.noise:.0%} less than it did"
        )
    unsteady = unsteadiness(profile.trials, profile.default)
    if unsteady > _UNSTEADY:
        _say(
            f"WARNING: the default's own finals differ by {unsteady:.0%}: other work disturbs, tune again when it is quiet"
        )
    if choice is not None:
        _say(f"stored in {_store(profile, profile_folder(engine))}; serving takes it up where options are left open")
        return 0
    _say(_why_nothing(tuning, args.time_limit, is_interrupted))
    return 130 if is_interrupted else 1


def _model_flag(named: str) -> dict[str, str]:
    """The model's path as a flag, if it is known yet. Raises ModelMissingError or ConfigError."""
    if named and (named.endswith(".gguf") or os.path.exists(named)):
        return {"model_path": named}
    if not named and any(os.environ.get(name) for name in ("LLMCORE_MODEL_PATH", "MODEL_PATH")):
        return {}
    known = hub.registry().find(named)
    path = hub.find(known, hub.model_dir(os.environ))
    if path is None:
        raise ModelMissingError(f"{known.name} is not here: run `llmcore pull {known.name}`", param="model")
    return {"model_path": str(path)}


def _profile(
    engine: EngineConfig, space: Space, job: Job, tuning: Tuning, choice: Choice | None, description: str
) -> TunedProfile:
    """With the default for the choice if there is none."""
    conditions = Conditions(
        n_threads_allowed=space.n_threads_max,
        n_ctx=job.n_ctx,
        n_slots=job.n_slots,
        mmap=engine.mmap,
        repack=engine.repack,
        kernels=engine.kernels,
    )
    return TunedProfile(
        version=VERSION,
        identity=identity_of(engine.model_path),
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        cpu=cpu_name(),
        model_path=system_name(os.path.abspath(engine.model_path)),
        description=description,
        conditions=conditions,
        default=tuning.default,
        chosen=choice.candidate if choice else tuning.default,
        gain=choice.gain if choice else 0.0,
        is_complete=tuning.is_complete and choice is not None,
        trials=tuple(tuning.trials),
    )


def _store(profile: TunedProfile, folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("profile_dir: there is no folder to keep a profile in: name one", param="profile_dir")
    try:
        return store(profile, folder)
    except OSError as error:
        raise ConfigError(f"profile_dir: cannot write to {folder}: {error.strerror}", param="profile_dir") from None


def _why_nothing(tuning: Tuning, limit_s: float, is_interrupted: bool) -> str:
    if is_interrupted:
        return "interrupted: nothing was stored"
    if any(trial.figures for trial in tuning.trials) or not tuning.trials:
        return f"nothing was stored: {limit_s:g} s were too short for a sound choice, give --time-limit more"
    return f"nothing was stored, for nothing could be measured: {tuning.trials[0].problem}"


# --- Showing ----------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, profile: TunedProfile, choice: Choice | None, description: str) -> None:
    rows = report_rows(profile.trials, profile.default, choice.candidate if choice else None)
    title = f"{description} on {profile.cpu}"
    if args.plot is not None and any(row.figures for row in rows):
        write_plot(args.plot, title, rows)
    if args.json:
        found = msgspec.to_builtins(profile)
        found["chosen"] = found["chosen"] if choice else None
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(_table(title, rows))
    line = f"default, as serving decides without a profile: {_options(profile.default)}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    if choice is not None:
        gain = f"{choice.gain:.0%} less time than the default" if choice.candidate != profile.default else "the default"
        line = f"chosen: {_options(choice.candidate)} ({gain})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _options(candidate: Candidate) -> str:
    values = msgspec.to_builtins(candidate).items()
    words = (f"{name}={('on' if value else 'off') if isinstance(value, bool) else value}" for name, value in values)
    return " ".join(words)


def _table(title: str, rows: list[ReportRow]) -> Table:
    table = Table(
        title=title, caption="tok/s; prompt, decode and rows over full caches; first prompt into an empty one"
    )
    for name in ("settings", "turn, s", "decode", "rows", "prompt", "first prompt", ""):
        table.add_column(name, justify="left" if name in ("settings", "") else "right", no_wrap=name == "settings")
    for row in rows:
        note = "chosen" if row.is_chosen else "finals" if row.is_final else ""
        figures = row.figures
        if figures is None:
            table.add_row(row.label, *["-"] * 5, row.problem)
            continue
        rates = (1 / figures.decode_s, figures.n_rows / figures.rows_s, 1 / figures.prompt_token_s)
        cold = f"{1 / figures.cold_token_s:.4g}" if figures.cold_token_s else "-"
        style = "bold" if row.is_chosen else None
        table.add_row(row.label, f"{figures.turn_s:.3g}", *(f"{rate:.4g}" for rate in rates), cold, note, style=style)
    return table


class PlainReport:
    """A line for each trial, for logs and pipes."""

    def __init__(self) -> None:
        self._n = self._n_expected = 0

    def expect(self, n: int) -> None:
        self._n_expected = n

    def __call__(self, ask: Ask, trial: Trial | None) -> None:
        if trial is None:
            return
        self._n += 1
        _say(f"[{self._n}/{max(self._n, self._n_expected)}] {_line(trial)}")


class BarReport:
    """One bar, and what is being measured."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("loading the model", total=None)

    def expect(self, n: int) -> None:
        self._bars.update(self._task, total=n)

    def __call__(self, ask: Ask, trial: Trial | None) -> None:
        if trial is None:
            self._bars.update(self._task, description=f"{ask.stage}: {_short(ask.candidate)}")
        else:
            self._bars.advance(self._task)
            self._bars.console.print(_line(trial), markup=False, highlight=False, soft_wrap=True)


def _short(candidate: Candidate) -> str:
    flash, blas = "flash " if candidate.flash_attn else "", " BLAS" if candidate.blas else ""
    return (
        f"threads {candidate.threads}/{candidate.threads_batch}, batch {candidate.n_batch}/{candidate.n_ubatch}, "
        f"{flash}{candidate.cache_type_k}/{candidate.cache_type_v}{blas}"
    )


def _line(trial: Trial) -> str:
    came = f"{trial.figures.turn_s:.3g} s a turn" if trial.figures else f"not measured: {trial.problem}"
    return f"{trial.stage}: {_short(trial.candidate)}: {came}"


@contextlib.contextmanager
def _told(console: Console) -> Iterator[PlainReport | BarReport]:
    if not console.is_terminal:
        yield PlainReport()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bars:
        yield BarReport(bars)


def _say(line: str) -> None:
    print(f"llmcore: {line}", file=sys.stderr, flush=True)


def _seconds(text: str) -> float:
    """For argparse."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, got {text}")
    return seconds
