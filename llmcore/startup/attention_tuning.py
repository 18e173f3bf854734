"""Attention settings by measurement, and how long steps take: short, once for each machine and model, and remembered.

Which of llama.cpp's attention paths and KV types is fastest differs between machines and models by factors, most of all at
the depth at which long prompts are answered. So each choice decodes and prefills over a cache that is really full. Filling
it costs no computing: the state of a few tokens is loaded again and again, and its cells handed to one sequence.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import msgspec

from llmcore.config import EngineConfig
from llmcore.errors import LlmcoreError
from llmcore.gguf.fingerprint import machine_fingerprint, model_fingerprint
from llmcore.llama import ffi
from llmcore.llama.attention_shape import AttentionShape
from llmcore.llama.context import Context, ContextParams
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.machine.atomic_write import write_atomically
from llmcore.machine.file_lock import lock_if_free
from llmcore.machine.user_folders import can_have, named_cache_folder, temporary_folder
from llmcore.scheduling.cost_model import Measurement
from llmcore.startup.check_record import CheckRecord, SelfCheckResult
from llmcore.startup.step_timing import FILL, Clock, StepTimer, can_fill

logger = logging.getLogger(__name__)

_VERSION = 1

# A voice bot's turn: a question after a long prompt, and a spoken answer.
_DEPTH, _TURN_PROMPT, _TURN_ANSWER = 2048, 256, 64
_CHUNK = 64

# The plainest settings (f16, no flash attention) stay, unless others are faster by this much.
_GAIN_MIN = 0.05


class AttentionSettings(msgspec.Struct, frozen=True):
    """How attention is computed. The order of fields is that of preference among equals."""

    flash_attn: bool = False
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"

    @property
    def name(self) -> str:
        """The key in a profile."""
        return "-".join(map(str, msgspec.structs.astuple(self)))

    @property
    def words(self) -> dict[str, object]:
        """Fields of a log line."""
        return msgspec.structs.asdict(self)


class AttentionTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What one choice took, over _DEPTH cells (or as many as fit): seconds of a step of one token and of one of _CHUNK."""

    settings: AttentionSettings
    n_cells: int
    decode_s: float
    chunk_s: float

    @property
    def turn_s(self) -> float:
        return self.decode_s * _TURN_ANSWER + self.chunk_s * _TURN_PROMPT / _CHUNK


class AttentionProfile(msgspec.Struct, kw_only=True):
    """What is remembered of one model on one kind of machine with one number of threads."""

    version: int = _VERSION
    trials: list[AttentionTrial] = []
    steps: dict[str, list[Measurement]] = {}  # by settings
    checks: list[SelfCheckResult] = []

    def trial(self, settings: AttentionSettings) -> AttentionTrial | None:
        return next((each for each in self.trials if each.settings == settings), None)


def candidates(config: EngineConfig, shape: AttentionShape) -> list[AttentionSettings]:
    """The settings that a configuration leaves open and the model's heads allow, the preferred one first. Raises ConfigError,
    which names the option at fault, if there are none."""
    flash = {"auto": [False, True], "on": [True], "off": [False]}[config.flash_attn]
    keys = ["f16", "bf16", "q8_0"] if config.cache_type_k == "auto" else [config.cache_type_k]
    values = ["f16", "bf16", "q8_0"] if config.cache_type_v == "auto" else [config.cache_type_v]
    both = config.cache_type_k == config.cache_type_v == "auto"
    found, problems = [], []
    for on, key, value in product(flash, keys, values):
        if both and key != value and (on, key, value) != (False, "q8_0", "f16"):
            continue  # mixed types are for those who ask for them
        problem = shape.problem(on, key, value)
        if problem is None:
            found.append(AttentionSettings(on, key, value))
        else:
            problems.append(problem)
    if not found:
        raise problems[0]
    return found


class AttentionTuner:
    """Chooses settings and measures steps for a loaded model, with the profile in `folder` as memory (None: it forgets)."""

    def __init__(
        self, model: Model, params: ContextParams, folder: Path | None, clock: Clock = time.perf_counter
    ) -> None:
        self._model = model
        self._params = params
        self._clock = clock
        self._is_kept = folder is not None
        self.path = (folder or Path("nowhere")) / f"{self._key()}.json"
        self.profile = self._load()
        self.checks = self._check_record()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Reads the profile anew, and marks in it what is measured or checked in this block, unless another process does so."""
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
        """Whether the trick that fills the cache works with this memory."""
        return can_fill(self._model) and self._depth > 0

    @property
    def _depth(self) -> int:
        return min(_DEPTH, (self._params.n_ctx - 2 * _CHUNK) // FILL * FILL)

    def rank(self, choices: list[AttentionSettings]) -> list[AttentionSettings]:
        """The choices, the fastest in a turn at depth first. Measures what is not known yet."""
        if len(choices) <= 1 or not self.can_measure:
            return choices
        trials = [trial for each in choices if (trial := self.profile.trial(each) or self._try(each)) is not None]
        trials.sort(key=lambda each: each.turn_s)
        plain = next((each for each in trials if each.settings == choices[0]), None)
        if plain is not None and plain.turn_s * (1 - _GAIN_MIN) <= trials[0].turn_s:
            trials.remove(plain)
            trials.insert(0, plain)
        if not trials:
            return choices
        chosen = trials[0]
        event(logger, logging.INFO, "attention_chosen", **chosen.settings.words, turn_s=chosen.turn_s, of=len(trials))
        return [each.settings for each in trials]

    def steps(self, settings: AttentionSettings) -> list[Measurement]:
        """How long steps of several sizes take, empty and at depth: what a cost model starts from."""
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

    def _try(self, settings: AttentionSettings) -> AttentionTrial | None:
        try:
            with self.checks.begun(settings.name), self._open(settings) as timer:
                trial = _trial(timer, settings, self._depth)
        except LlmcoreError as error:  # this model, or this memory limit, does not allow it: then it is not the choice
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
        self.profile.trials.append(trial)
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
        build = ffi.library().build_info()
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
        build = model_fingerprint(ffi.library_dir() / ffi.LIBRARY_NAME)
        return CheckRecord(self.profile.checks, build, self._save)

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
        """A folder that cannot be written to means measuring again at the next start, not a failure; said once."""
        if not self._is_kept:
            return
        try:
            write_atomically(self.path, msgspec.json.format(msgspec.json.encode(self.profile)))
        except OSError as error:
            self._is_kept = False
            event(logger, logging.WARNING, "profile_not_kept", path=str(self.path), error=str(error))


def _trial(timer: StepTimer, settings: AttentionSettings, depth: int) -> AttentionTrial:
    timer.fill(depth)
    timer.step(1)  # touches what is touched for the first time
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


def default_profile_dir() -> Path | None:
    """LLMCORE_PROFILE_DIR, or a folder in the user's cache. Where that can neither be nor be made, a temporary one; None where
    there is none of that either."""
    named = os.environ.get("LLMCORE_PROFILE_DIR")
    if named:
        return Path(named)
    cache = named_cache_folder()
    if cache is None or not can_have(cache / "profiles"):
        cache = temporary_folder()
    return None if cache is None else cache / "profiles"


def is_temporary(folder: Path | None) -> bool:
    """Whether what default_profile_dir() gave is forgotten with the container, or at the next restart of the machine."""
    named = named_cache_folder()
    return not os.environ.get("LLMCORE_PROFILE_DIR") and (named is None or folder != named / "profiles")
