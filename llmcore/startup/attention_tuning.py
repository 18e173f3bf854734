"""Measures attention settings and step times: briefly, once for each machine and model; the results are kept in a profile.

The fastest attention path and KV type of llama.cpp differ between machines and models by factors, most of all at the depth
of long prompts. So each candidate decodes and prefills over a full cache. Filling the cache costs no computing: the state of
a few tokens is loaded again and again, and its cells are given to one sequence.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from llmcore.errors import LlmcoreError
from llmcore.gguf.fingerprint import machine_fingerprint, model_fingerprint
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import LIBRARY_NAME, library_dir, load_library
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.machine.atomic_write import write_atomically
from llmcore.machine.file_lock import lock_if_free
from llmcore.scheduling.cost_model import Measurement
from llmcore.startup.attention_settings import GAIN_MIN, AttentionSettings
from llmcore.startup.check_record import CheckRecord, SelfCheckResult
from llmcore.startup.first_load import FirstLoadNotice
from llmcore.startup.step_timing import DEPTH, FILL, TURN_ANSWER, TURN_PROMPT, Clock, StepTimer, can_fill

logger = logging.getLogger(__name__)

_VERSION = 2

_CHUNK = 64


class AttentionTrial(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a step of one token and of a step of _CHUNK tokens, over DEPTH cells or as many as fit."""

    settings: AttentionSettings
    n_cells: int
    decode_s: float
    chunk_s: float

    @property
    def turn_s(self) -> float:
        """Seconds of a voice bot's turn, by which settings are compared."""
        return self.decode_s * TURN_ANSWER + self.chunk_s * TURN_PROMPT / _CHUNK


class AttentionProfile(msgspec.Struct, kw_only=True):
    """The stored measurements and checks of one model on one kind of machine with one number of threads."""

    version: int = _VERSION
    trials: list[AttentionTrial] = []
    second_trials: list[
        AttentionTrial
    ] = []  # of settings that the first trials found to be faster, and of those they beat
    steps: dict[str, list[Measurement]] = {}  # by AttentionSettings.name
    checks: list[SelfCheckResult] = []

    def trial(self, settings: AttentionSettings) -> AttentionTrial | None:
        return _trial_of(self.trials, settings)

    def second_trial(self, settings: AttentionSettings) -> AttentionTrial | None:
        return _trial_of(self.second_trials, settings)


def _trial_of(trials: list[AttentionTrial], settings: AttentionSettings) -> AttentionTrial | None:
    return next((each for each in trials if each.settings == settings), None)


class AttentionTuner:
    """Ranks attention settings and measures steps for a loaded model. Results are kept in `folder`; None keeps nothing."""

    def __init__(
        self, model: Model, params: ContextParams, folder: Path | None, clock: Clock = time.perf_counter
    ) -> None:
        self._model = model
        self._params = params
        self._clock = clock
        self._is_kept = folder is not None
        self._notice = FirstLoadNotice(model.path, is_kept=self._is_kept)
        self.path = (folder or Path("nowhere")) / f"{self._key()}.json"
        self.profile = self._load()
        self.checks = self._check_record()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Rereads the profile. Within the block, each measurement or check is marked in the profile while it runs, so that a
        crash is recognized at the next start; not if another process has the profile open."""
        if not self._is_kept:
            with self.checks.kept(is_alone=False):
                yield
            return
        with contextlib.ExitStack() as held:
            is_alone = held.enter_context(lock_if_free(self.path.with_suffix(".lock")))
            self.profile = self._load()
            self.checks = self._check_record()
            held.enter_context(self.checks.kept(is_alone))
            yield

    @property
    def can_measure(self) -> bool:
        """True if the model's memory can be filled with copies."""
        return can_fill(self._model) and self._depth > 0

    @property
    def _depth(self) -> int:
        return min(DEPTH, (self._params.n_ctx - 2 * _CHUNK) // FILL * FILL)

    def rank(self, choices: list[AttentionSettings]) -> list[AttentionSettings]:
        """Returns the choices with the one to use first: the first choice, which is preferred, unless two measurements agree that
        another one is faster; then the fastest, where again an earlier choice yields only to two measurements. The others follow,
        the fastest in a turn at depth first. Measures what the profile lacks."""
        if len(choices) <= 1 or not self.can_measure:
            return choices
        trials = [trial for each in choices if (trial := self.profile.trial(each) or self._try(each)) is not None]
        if not trials:
            return choices
        chosen = trials[0]
        for each in trials[1:]:
            if self._is_faster(each, chosen):
                chosen = each
        trials.sort(key=lambda each: (each is not chosen, each.turn_s))
        event(
            logger,
            logging.INFO,
            "attention_chosen",
            **chosen.settings.words,
            turn_s=chosen.turn_s,
            of=len(trials),
            is_preferred=chosen.settings == choices[0],
        )
        return [each.settings for each in trials]

    def _is_faster(self, trial: AttentionTrial, incumbent: AttentionTrial) -> bool:
        """True if two measurements agree that the settings of `trial` save a part of the incumbent's time."""
        if trial.turn_s >= incumbent.turn_s * (1 - GAIN_MIN):
            return False
        pair = (trial.settings, incumbent.settings)
        second = [self.profile.second_trial(each) or self._try(each, is_second=True) for each in pair]
        return all(second) and second[0].turn_s < second[1].turn_s * (1 - GAIN_MIN)  # type: ignore[union-attr]

    def steps(self, settings: AttentionSettings) -> list[Measurement]:
        """Measures steps of several sizes, with an empty and a full cache, for the cost model to start from."""
        if not self.can_measure:
            return []
        key = settings.name
        if key not in self.profile.steps:
            try:
                with self.checks.begun(settings.name), self._open(settings) as timer:
                    self.profile.steps[key] = _steps(timer, self._depth)
            except LlmcoreError as error:
                event(logger, logging.WARNING, "steps_not_measured", message=error.message)
                return []
            self._save()
        return self.profile.steps[key]

    def _try(self, settings: AttentionSettings, *, is_second: bool = False) -> AttentionTrial | None:
        try:
            with self.checks.begun(settings.name), self._open(settings) as timer:
                trial = _trial(timer, settings, self._depth)
        except LlmcoreError as error:  # not possible with this model or memory limit
            event(logger, logging.INFO, "attention_unavailable", **settings.words, message=error.message)
            return None
        event(
            logger,
            logging.INFO,
            "attention_measured",
            **trial.settings.words,
            decode_s=trial.decode_s,
            chunk_s=trial.chunk_s,
        )
        (self.profile.second_trials if is_second else self.profile.trials).append(trial)
        self._save()
        return trial

    def _open(self, settings: AttentionSettings) -> StepTimer:
        params = replace(
            self._params,
            n_ctx=self._depth + 2 * _CHUNK + 512,
            n_slots=2,
            flash_attn=settings.flash_attn,
            cache_type_k=settings.cache_type_k,
            cache_type_v=settings.cache_type_v,
        )
        return StepTimer(Context(self._model, params), self._clock)

    # --- The profile ------------------------------------------------------------------------------------------------------

    def _key(self) -> str:
        params = self._params
        build = load_library().build_info()
        parts = [machine_fingerprint(), model_fingerprint(self._model.path), str(build.get("llama_cpp_commit", ""))]
        parts += [
            f"t{params.threads}-{params.threads_batch}",
            f"u{params.n_ubatch}",
            f"d{self._depth}",
            self._model.kernels,
        ]
        if self._model.rpc_servers:
            servers = ",".join([*self._model.rpc_servers, str(self._model.params.n_gpu_layers)])
            parts.append("rpc" + hashlib.blake2b(servers.encode(), digest_size=6).hexdigest())
        return "-".join([*(part[:16] for part in parts[:3]), *parts[3:]])

    def _check_record(self) -> CheckRecord:
        build = model_fingerprint(library_dir() / LIBRARY_NAME)
        return CheckRecord(self.profile.checks, build, self._save, on_begin=self._notice.say)

    def _load(self) -> AttentionProfile:
        if not self._is_kept:
            return AttentionProfile()
        try:
            profile = msgspec.json.decode(self.path.read_bytes(), type=AttentionProfile)
        except FileNotFoundError:
            return AttentionProfile()
        except (OSError, msgspec.DecodeError) as error:
            event(logger, logging.WARNING, "profile_unreadable", path=str(self.path), error=str(error))
            return AttentionProfile()
        return profile if profile.version == _VERSION else AttentionProfile()

    def _save(self) -> None:
        """Writes the profile. If that fails, one warning is logged and the next start measures again."""
        if not self._is_kept:
            return
        try:
            write_atomically(self.path, msgspec.json.format(msgspec.json.encode(self.profile)))
        except OSError as error:
            self._is_kept = False
            event(logger, logging.WARNING, "profile_not_kept", path=str(self.path), error=str(error))


def _trial(timer: StepTimer, settings: AttentionSettings, depth: int) -> AttentionTrial:
    timer.fill(depth)
    timer.step(1)  # touches memory for the first time
    decode_s = min(timer.step(1) for _ in range(3))
    n_chunk = min(_CHUNK, timer.n_batch)
    chunk_s = timer.step(n_chunk) * _CHUNK / n_chunk
    return AttentionTrial(settings=settings, n_cells=depth, decode_s=decode_s, chunk_s=chunk_s)


def _steps(timer: StepTimer, depth: int) -> list[Measurement]:
    found = []
    for n_cells in (0, depth):
        if n_cells:
            timer.clear()
            timer.fill(n_cells)
        timer.step(1)
        for n_tokens, n_times in ((1, 3), (4, 2), (16, 2), (64, 1)):
            if n_tokens > timer.n_batch:
                continue
            seconds = []
            for _ in range(n_times):
                if not n_cells:
                    timer.clear()
                seconds.append(timer.step(n_tokens))
            found.append(Measurement(n_tokens, 1 if n_tokens == 1 else 0, n_cells, min(seconds)))
    return found
