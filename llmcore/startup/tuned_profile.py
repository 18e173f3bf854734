"""Profiles of `llmcore tune` for a model on a machine: how they are stored, and the options that serving takes from them.

A profile is one JSON file in the profile folder, `tuned-MODEL-MACHINE-BUILD.json` (docs/DEPLOYMENT.md describes its fields). It
is valid for that model file, kind of CPU and build only. An option that the user left open takes the chosen value, together
with the options that were measured with it; an option that the user set wins.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from llmcore.config import EngineConfig
from llmcore.gguf.fingerprint import machine_fingerprint, model_fingerprint
from llmcore.llama.ffi.library import load_library
from llmcore.log import event
from llmcore.machine.atomic_write import write_atomically
from llmcore.machine.os_text import system_name
from llmcore.machine.threads import ThreadDecision, decide_threads
from llmcore.startup.profile_folder import profile_folder
from llmcore.startup.trial_result import Candidate, TrialResult

logger = logging.getLogger(__name__)

VERSION = 4

# Groups of options that were measured together: each is taken completely or not at all.
_GROUPS = (
    ("threads", "threads_batch"),
    ("n_batch", "n_ubatch"),
    ("flash_attn", "cache_type_k", "cache_type_v"),
)
_OPEN = (0, "auto")


class ProfileIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Fingerprints of the model file and of the kind of CPU; llama.cpp's commit and the kind of CPU it was built for."""

    model: str
    machine: str
    build: str

    def difference(self, other: ProfileIdentity) -> str:
        """Names the fields in which `other` differs, as "another machine"; "" if none does."""
        different = [name for name in self.__struct_fields__ if getattr(self, name) != getattr(other, name)]
        return "another " + " and ".join(different) if different else ""


class TuningConditions(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions of the trials: the threads that the machine and its limits allowed, the size of the context, and the options for
    loading and multiplying weights."""

    n_threads_allowed: int
    n_ctx: int
    n_slots: int
    mmap: bool
    repack: bool
    kernels: str
    repeatable: str
    blas: bool

    def difference(self, config: EngineConfig) -> str:
        """Names the first option whose value differs from the config's, so that the trials do not apply; "" if none does."""
        ways = {
            "repack": config.repack,
            "kernels": config.kernels,
            "repeatable": config.repeatable,
            "blas": config.blas == "on",
        }
        for name, value in ways.items():
            if getattr(self, name) != value:
                return f"measured with {name}={_option_value(self, name)}"
        return ""


class TunedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a tuning (docs/DEPLOYMENT.md). `default` are the settings that serving takes without a profile, `gain` is the part
    of their time that the chosen ones save; `is_complete` is False if the time limit left something out."""

    version: int = VERSION
    identity: ProfileIdentity
    measured_at: str
    cpu: str
    model_path: str
    description: str
    conditions: TuningConditions
    default: Candidate
    chosen: Candidate
    gain: float
    is_complete: bool
    trials: tuple[TrialResult, ...]


def identity_of(model_path: str | os.PathLike[str]) -> ProfileIdentity:
    """Identity of a profile for this model file, machine and build. Raises OSError if the file cannot be read."""
    info = load_library().build_info()
    build = f"{info.get('llama_cpp_commit', '')}-{info.get('cpu_build', '')}"
    return ProfileIdentity(model=model_fingerprint(model_path), machine=machine_fingerprint(), build=build)


def threads_allowed(decision: ThreadDecision) -> int:
    """Number of threads that can run at the same time: CPUs of the affinity mask, at most the quota."""
    n_cpus = len(os.sched_getaffinity(0))
    return n_cpus if decision.quota_cpus is None else max(min(n_cpus, math.floor(decision.quota_cpus)), 1)


# --- On disk ----------------------------------------------------------------------------------------------------------


def profile_path(folder: Path, identity: ProfileIdentity) -> Path:
    parts = (identity.model[:16], identity.machine[:16], "".join(c for c in identity.build if c.isalnum())[:16])
    return folder / f"tuned-{'-'.join(parts)}.json"


def store(profile: TunedProfile, folder: Path) -> Path:
    """Writes a profile atomically. Returns its path. Raises OSError."""
    path = profile_path(folder, profile.identity)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(profile)) + b"\n")
    return path


def _has_profiles(folder: Path) -> bool:
    try:
        return next(folder.glob("tuned-*.json"), None) is not None
    except OSError:  # a folder that cannot be read
        return False


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that every version of a profile has."""

    version: int
    identity: ProfileIdentity
    model_path: str


def _found(folder: Path, identity: ProfileIdentity, config: EngineConfig) -> tuple[Path, TunedProfile] | None:
    """Returns the valid profile and its path, None if there is none. Logs a line for each other profile of this model, and for
    each file that cannot be read."""
    found, model_path = None, system_name(os.path.abspath(config.model_path))
    for path in sorted(folder.glob("tuned-*.json")):
        try:
            data = path.read_bytes()
            header = msgspec.json.decode(data, type=_Header)
            reason = identity.difference(header.identity)
            if header.version != VERSION:
                reason = f"version {header.version}, and this is {VERSION}"
            if not reason:
                profile = msgspec.json.decode(data, type=TunedProfile)
                reason = profile.conditions.difference(config)
        except (OSError, msgspec.DecodeError) as error:
            event(logger, logging.WARNING, "tuned_profile_unreadable", path=str(path), error=str(error))
            continue
        if not reason:
            found = path, profile
        elif header.identity.model == identity.model or header.model_path == model_path:
            event(logger, logging.INFO, "tuned_profile_not_used", path=str(path), reason=reason)
    return found


# --- Options taken from it -------------------------------------------------------------------------------------------


def with_profile(config: EngineConfig) -> EngineConfig:
    """Returns the config with the values of a valid profile for options that were left open. Logs one line with the options that
    were taken, those that the user's own options overrode, and those that do not fit today's CPUs."""
    folder = profile_folder(config)
    if not any(getattr(config, name) in _OPEN for group in _GROUPS for name in group):
        return config
    if folder is None or not _has_profiles(folder):
        return config
    try:
        found = _found(folder, identity_of(config.model_path), config)
    except OSError:
        return config  # loading the model reports the fault of its file
    if found is None:
        return config
    path, profile = found
    taken, overridden, unfit = decide(config, profile, threads_allowed(decide_threads()))
    fields = {"taken": _words(taken), "overridden": _words(overridden), "unfit": unfit}
    present = {name: text for name, text in fields.items() if text}
    event(logger, logging.INFO, "tuned_profile_used", path=str(path), measured_at=profile.measured_at, **present)
    return dataclasses.replace(config, **taken)


class ProfileDecision(NamedTuple):
    """Options to take from a profile, its options that the user overrode, and the reason for not taking its threads ("" if they are
    taken)."""

    taken: dict[str, Any]
    overridden: dict[str, Any]
    unfit: str


def decide(config: EngineConfig, profile: TunedProfile, n_allowed: int) -> ProfileDecision:
    """Decides what to take from a profile. `n_allowed` is the number of threads that may run today."""
    taken: dict[str, Any] = {}
    overridden: dict[str, Any] = {}
    unfit, n_before = "", profile.conditions.n_threads_allowed
    for group in _GROUPS:
        values = {name: _option_value(profile.chosen, name) for name in group}
        own = {name: getattr(config, name) for name in group if getattr(config, name) not in _OPEN}
        others = {name: values[name] for name, value in own.items() if value != values[name]}
        if others:
            overridden |= others
        elif "threads" in group and n_allowed != n_before and len(own) < len(group):
            # The counts are too large if there are fewer CPUs than at the trials, and too small if there are more.
            unfit = f"threads: {n_allowed} may run today, and {n_before} when it was measured"
        else:
            taken |= {name: value for name, value in values.items() if name not in own}
    return ProfileDecision(taken, overridden, unfit)


def _option_value(holder: Candidate | TuningConditions, name: str) -> Any:
    value = getattr(holder, name)
    return ("on" if value else "off") if isinstance(value, bool) else value


def _words(options: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items())
