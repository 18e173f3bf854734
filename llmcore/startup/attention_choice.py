"""Attention settings in the order in which to try them: fastest first, without those that compute wrongly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from llmcore.config import EngineConfig
from llmcore.errors import NativeError
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.log import event
from llmcore.startup.attention_settings import PLAIN, AttentionSettings
from llmcore.startup.attention_tuning import AttentionTuner
from llmcore.startup.self_check import Compute, SelfCheck, Subject

logger = logging.getLogger(__name__)


class AttentionChoice:
    """Ranks settings by the tuner's measurements and the self-check.

    Args:
        params: returns the parameters of a context for settings.
        compute: for the self-check.
    """

    def __init__(
        self,
        config: EngineConfig,
        model: Model,
        tuner: AttentionTuner,
        params: Callable[[AttentionSettings], ContextParams],
        compute: Compute | None = None,
    ) -> None:
        self._tuner = tuner
        self._params = params
        self._kernels = model.kernels
        check = SelfCheck(model, params(PLAIN), tuner.checks, compute)
        self._check = check if config.self_check == "auto" and check.is_possible else None

    def ranked(self, choices: list[AttentionSettings]) -> Iterator[AttentionSettings]:
        """Yields the settings of `choices` that pass the self-check, fastest first; if none passes, the fastest, with a warning.
        Raises KernelsUnfitError if our kernels are at fault, and NativeError if each of the choices has crashed a process."""
        check = self._check
        if check is None:
            yield from self._tuner.rank(choices)
            return
        check.check_kernels()
        ranked = self._tuner.rank([each for each in choices if not self._has_crashed(check, each)])
        n_sound = 0
        for settings in ranked:
            if settings == PLAIN or check.passes(self._subject(settings)):
                n_sound += 1
                yield settings
        if n_sound:
            return
        if self._kernels != "none" and (not ranked or check.blames_kernels(self._subject(ranked[0]))):
            raise check.unfit()
        if not ranked:
            raise NativeError(
                "each of the attention settings that were asked for has ended a process on this machine: leave flash_attn, "
                f"cache_type_k and cache_type_v at auto, or remove {self._tuner.path} to try again"
            )
        event(logger, logging.WARNING, "self_check_overridden", **ranked[0].words, reason="nothing else is open")
        yield ranked[0]

    def _has_crashed(self, check: SelfCheck, settings: AttentionSettings) -> bool:
        """True if the settings have crashed a process. Plain settings are never left out: they are the last resort."""
        if settings == PLAIN or not check.has_ended(self._subject(settings)):
            return False
        event(logger, logging.WARNING, "attention_left_out", **settings.words, reason="it ended a process")
        return True

    def _subject(self, settings: AttentionSettings) -> Subject:
        return Subject(settings.name, self._params(settings), settings.words)
