"""Measure the fastest settings for a model on this machine, and store them for serving."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from llmcore import config, log
from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, ModelMissingError
from llmcore.gguf.fingerprint import cpu_name
from llmcore.hub import model_store
from llmcore.llama.model import Model
from llmcore.machine.options import add_flags
from llmcore.machine.os_text import system_name
from llmcore.startup.profile_folder import profile_folder
from llmcore.startup.trial_result import TrialResult
from llmcore.startup.tuned_profile import TunedProfile, TuningConditions, identity_of, store
from llmcore.tuning.grid import Space, TuningChoice
from llmcore.tuning.plot import check_plot_path, write_plot
from llmcore.tuning.report import report_rows, report_table, spread
from llmcore.tuning.runner import Tuning, plan
from llmcore.tuning.trial_messages import TrialJob
from llmcore.tuning.trial_process import TrialProcess

# Options that are tuned unless they are given, then conditions of the trials.
OPTIONS = (
    *("threads", "threads_batch", "n_batch", "n_ubatch", "flash_attn", "cache_type_k", "cache_type_v"),
    *("n_ctx", "n_slots", "mmap", "repack", "kernels", "repeatable", "blas", "profile_dir"),
)
_TIME_LIMIT_S = 600.0

# If the default's finals differ by more than this part, a warning is printed.
_SPREAD_MAX = 0.25


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
        help=f"end after so long, with the results until then (default: {_TIME_LIMIT_S:.0f})",
    )
    parser.add_argument(
        "--plot", type=Path, default=None, help="draw the results into a file, .svg or .png (needs matplotlib)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of a table")
    add_flags(parser, EngineConfig, OPTIONS)


def run(args: argparse.Namespace) -> int:
    """Runs a tuning. Returns 0 if a choice was stored, 1 if there is none, 130 after Ctrl-C."""
    log.configure("error")
    flags = {name: value for name, value in vars(args).items() if name in OPTIONS}
    engine = config.load(EngineConfig, {**flags, **_model_flag(args.model)}, os.environ)
    if args.plot is not None:
        check_plot_path(args.plot)
    with Model(engine.model_path, vocab_only=True) as model:
        space, job = plan(engine, model)
        description = str(model.header.metadata.get("general.name") or system_name(Path(model.path).name))
    is_interrupted = False
    with TrialProcess(job) as process, TrialLines(Console(stderr=True)) as lines:
        tuning = Tuning(space, process, args.time_limit, lines)
        lines.n_trials_max = tuning.n_trials_max
        try:
            tuning.run()
        except KeyboardInterrupt:
            is_interrupted = True
    choice = None if is_interrupted else tuning.choice
    profile = _profile(engine, space, job, tuning, choice, description)
    _show(args, profile, choice)
    _warn(profile, choice)
    if choice is not None:
        _say(f"stored in {_store(profile, profile_folder(engine))}; serving uses it for options that are left open")
        return 0
    _say(_why_nothing(tuning, args.time_limit, is_interrupted))
    return 130 if is_interrupted else 1


def _model_flag(named: str) -> dict[str, str]:
    """Returns the model's path as a flag; nothing if the environment names it. Raises ModelMissingError or ConfigError."""
    if named and (named.endswith(".gguf") or os.path.exists(named)):
        return {"model_path": named}
    if not named and any(os.environ.get(name) for name in ("LLMCORE_MODEL_PATH", "MODEL_PATH")):
        return {}
    known = model_store.registry().find(named)
    path = model_store.find(known, model_store.model_dir(os.environ))
    if path is None:
        raise ModelMissingError(f"{known.name} is not here: run `llmcore pull {known.name}`", param="model")
    return {"model_path": str(path)}


def _profile(
    engine: EngineConfig, space: Space, job: TrialJob, tuning: Tuning, choice: TuningChoice | None, description: str
) -> TunedProfile:
    """Returns the profile to show and store; without a choice, its chosen candidate is the default."""
    conditions = TuningConditions(
        n_threads_allowed=space.n_threads_max,
        n_ctx=job.n_ctx,
        n_slots=job.n_slots,
        mmap=engine.mmap,
        repack=engine.repack,
        kernels=engine.kernels,
        repeatable=engine.repeatable,
        blas=engine.blas == "on",
    )
    return TunedProfile(
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
        trials=tuple(tuning.results),
    )


def _store(profile: TunedProfile, folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("profile_dir: there is no folder to keep a profile in: name one", param="profile_dir")
    try:
        return store(profile, folder)
    except OSError as error:
        raise ConfigError(f"profile_dir: cannot write to {folder}: {error.strerror}", param="profile_dir") from None


# --- Output -----------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, profile: TunedProfile, choice: TuningChoice | None) -> None:
    rows = report_rows(profile.trials, profile.default, choice.candidate if choice else None)
    title = f"{profile.description} on {profile.cpu}"
    if args.plot is not None and any(row.figures for row in rows):
        write_plot(args.plot, title, rows)
    if args.json:
        found = msgspec.to_builtins(profile)
        found["chosen"] = found["chosen"] if choice else None
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    Console(width=None if sys.stdout.isatty() else 132).print(report_table(title, rows))
    print(f"default, as serving decides without a profile: {profile.default}")
    if choice is not None:
        gain = f"{choice.gain:.0%} less time than the default" if choice.candidate != profile.default else "the default"
        print(f"chosen: {choice.candidate} ({gain})")


def _warn(profile: TunedProfile, choice: TuningChoice | None) -> None:
    if choice is not None and choice.gain_missed:
        _say(
            f"the default stays: a challenger took {choice.gain_missed:.0%} less, but up to {choice.noise:.0%} of the default's "
            "own time may be due to other work"
        )
    differ = spread(profile.trials, profile.default)
    if differ > _SPREAD_MAX:
        _say(f"WARNING: the default's finals differ by {differ:.0%}: other work disturbs, tune again when it is quiet")


def _why_nothing(tuning: Tuning, limit_s: float, is_interrupted: bool) -> str:
    if is_interrupted:
        return "interrupted: nothing was stored"
    if any(each.figures for each in tuning.results) or not tuning.results:
        return f"nothing was stored: {limit_s:g} s were too short for a sound choice, give --time-limit more"
    return f"nothing was stored, since nothing could be measured: {tuning.results[0].problem}"


class TrialLines:
    """Prints a line for each trial that has ended; a terminal also shows the running one. Use it with `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("loading the model", console=console)
        self._n = 0
        self.n_trials_max = 0

    def __enter__(self) -> TrialLines:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, label: str, result: TrialResult | None) -> None:
        if result is None:
            self._status.update(escape(label))
            return
        self._n += 1
        outcome = f"{result.figures.score_s:.3g} s" if result.figures else f"not measured: {result.problem}"
        line = f"llmcore: [{self._n}/{max(self._n, self.n_trials_max)}] {label}: {outcome}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _say(line: str) -> None:
    print(f"llmcore: {line}", file=sys.stderr, flush=True)


def _seconds(text: str) -> float:
    """Parses an argument as a positive number of seconds."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, got {text}")
    return seconds
