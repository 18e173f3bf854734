"""Context shift: an answer at the end of its context continues after its oldest tokens are forgotten."""

from __future__ import annotations

import logging

from llmcore.log import event
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence

logger = logging.getLogger(__name__)

# The beginning of the prompt is kept, up to this part of the context, and half of the tokens behind it.
_KEEP_SHARE = 1 / 4


class ContextShift:
    """Makes room in sequences, if the configuration asks for it."""

    def __init__(self, scheduler: Scheduler, *, is_enabled: bool) -> None:
        self._scheduler = scheduler
        self._is_enabled = is_enabled

    def apply(self, sequence: Sequence) -> bool:
        """Makes room at the end of a full sequence. Returns False if that is off or not possible.

        The tokens kept behind the gap are computed anew: their keys and values depend on those that are forgotten, and cells
        that others share must not move.
        """
        n = len(sequence.tokens)
        n_keep = min(sequence.n_prompt, int(self._scheduler.limits.n_ctx * _KEEP_SHARE))
        n_drop = (n - n_keep) // 2
        if not self._is_enabled or n_drop < 1:
            return False
        self._scheduler.shift(sequence, n_keep, n_drop)
        event(logger, logging.INFO, "context_shifted", request_id=sequence.request_id, n_dropped=n_drop)
        return True
