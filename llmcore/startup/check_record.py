"""Results of the self-check, kept in the profile of a model on a machine.

A check is recorded as begun before native code runs. A check that is still begun at the next start, while no other process has
the profile open, ended its process: by a crash, or because somebody stopped the service meanwhile. So the first such end counts
for some minutes only (enough for a supervisor to start the next process); a second one counts for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

BEGUN, PASSED, FAILED, ENDED = "begun", "passed", "failed", "ended"

# Seconds for which the first end of a process counts, and the number of ends that counts for good.
_ENDED_S, _ENDS_MAX = 600.0, 2


class SelfCheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one check.

    Attributes:
        subject: name of the settings or kernels that were checked.
        build: digest of the native library that computed.
        difference: from the plain results; None if logits were not finite.
        begun_at: seconds since the epoch.
        n_ended: number of processes that ended during this check.
    """

    subject: str
    build: str
    outcome: str
    difference: float | None = None
    begun_at: float = 0.0
    n_ended: int = 0


class CheckRecord:
    """Checks of one build, kept in the list `checks`, which `save` stores. `on_begin` is called before anything is computed."""

    def __init__(
        self,
        checks: list[SelfCheckResult],
        build: str,
        save: Callable[[], None],
        now: Callable[[], float] = time.time,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._checks = checks
        self._build = build
        self._save = save
        self._now = now
        self._on_begin = on_begin
        self._is_kept = False

    @contextmanager
    def kept(self, is_alone: bool) -> Iterator[None]:
        """Within the block, checks are recorded when they begin, if no other process has the profile open (`is_alone`)."""
        self._is_kept = is_alone
        for check in [each for each in self._checks if each.outcome == BEGUN]:
            if is_alone:
                self._replace(msgspec.structs.replace(check, outcome=ENDED, n_ended=check.n_ended + 1))
            else:  # running in another process
                self._checks.remove(check)
        try:
            yield
        finally:
            self._is_kept = False

    def find(self, subject: str) -> SelfCheckResult | None:
        """Returns the check of a subject, None if there is none or it no longer counts."""
        check = self._of(subject)
        if check is None or check.outcome == BEGUN:
            return None
        is_over = check.outcome == ENDED and check.n_ended < _ENDS_MAX and self._now() - check.begun_at > _ENDED_S
        return None if is_over else check

    @contextmanager
    def begun(self, subject: str) -> Iterator[None]:
        """Marks a subject as begun for the block. The mark is removed at the end of the block; it stays if the process ends."""
        self._on_begin()
        if not self._is_kept:
            yield
            return
        before = self._of(subject)
        n_ended = before.n_ended if before is not None else 0
        self._replace(
            SelfCheckResult(subject=subject, build=self._build, outcome=BEGUN, begun_at=self._now(), n_ended=n_ended)
        )
        self._save()
        try:
            yield
        finally:
            self._checks[:] = [each for each in self._checks if each.subject != subject]
            if before is not None and before.outcome != ENDED:
                self._checks.append(before)
            self._save()

    def conclude(self, subject: str, outcome: str, difference: float | None = None) -> SelfCheckResult:
        """Records the outcome of a check in place of an earlier one."""
        check = SelfCheckResult(subject=subject, build=self._build, outcome=outcome, difference=difference)
        self._replace(check)
        self._save()
        return check

    def _of(self, subject: str) -> SelfCheckResult | None:
        found = (each for each in self._checks if each.subject == subject and each.build == self._build)
        return next(found, None)

    def _replace(self, check: SelfCheckResult) -> None:
        self._checks[:] = [each for each in self._checks if each.subject != check.subject]
        self._checks.append(check)
