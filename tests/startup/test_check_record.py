"""Records of checks, and of processes that ended during one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.startup.check_record import BEGUN, ENDED, FAILED, PASSED, CheckRecord, SelfCheckResult


class Disk:
    """A profile as it was saved last, and a clock."""

    def __init__(self) -> None:
        self.saved: list[SelfCheckResult] = []
        self.now = 1000.0

    def open(self, build: str = "b") -> CheckRecord:
        checks = list(self.saved)

        def save() -> None:
            self.saved = list(checks)

        return CheckRecord(checks, build, save, lambda: self.now)

    def die_in(self, subject: str) -> None:
        """A process that begins a check and ends."""
        record = self.open()
        with record.kept(True), record.begun(subject):
            left = self.saved
        self.saved = left


@pytest.fixture
def disk() -> Disk:
    return Disk()


def outcome(record: CheckRecord, subject: str = "a") -> str | None:
    check = record.find(subject)
    return None if check is None else check.outcome


def test_results_hold_for_their_build(disk: Disk) -> None:
    first = disk.open()
    first.conclude("a", FAILED, 0.7)
    first.conclude("b", PASSED, 0.01)
    again = disk.open()
    assert (outcome(again), outcome(again, "b"), outcome(again, "c")) == (FAILED, PASSED, None)
    assert again.find("a").difference == 0.7  # type: ignore[union-attr]
    assert outcome(disk.open("another")) is None


def test_an_exception_leaves_no_mark(disk: Disk) -> None:
    record = disk.open()

    def interrupted() -> None:
        with record.kept(True), record.begun("a"):
            assert [each.outcome for each in disk.saved] == [BEGUN]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert disk.saved == []


def test_what_was_known_stays_known_while_it_is_measured_again(disk: Disk) -> None:
    record = disk.open()
    known = record.conclude("a", PASSED, 0.1)
    with record.kept(True), record.begun("a"):
        assert [each.outcome for each in disk.saved] == [BEGUN]
    assert disk.saved == [known]


def test_the_process_that_ended_counts_at_the_next_start(disk: Disk) -> None:
    disk.die_in("a")
    record = disk.open()
    with record.kept(True):
        assert outcome(record) == ENDED
        assert outcome(record, "b") is None


def test_one_end_is_forgiven_after_some_minutes_and_two_are_not(disk: Disk) -> None:
    disk.die_in("a")
    disk.now += 3600
    record = disk.open()
    with record.kept(True):
        assert outcome(record) is None, "someone may have stopped the service"
    disk.die_in("a")
    disk.now += 3600
    record = disk.open()
    with record.kept(True):
        assert outcome(record) == ENDED
    assert outcome(disk.open("another build")) is None


def test_an_end_is_forgotten_once_it_goes_well(disk: Disk) -> None:
    disk.die_in("a")
    disk.now += 3600
    record = disk.open()
    with record.kept(True), record.begun("a"):
        pass
    disk.die_in("a")
    disk.now += 3600
    record = disk.open()
    with record.kept(True):
        assert outcome(record) is None, "that was one again"


def test_a_check_under_way_in_another_process_has_not_ended(disk: Disk) -> None:
    disk.die_in("a")
    record = disk.open()
    with record.kept(False):
        assert outcome(record) is None
        with record.begun("a"):
            assert disk.saved[0].outcome == BEGUN, "the other's mark, as it was"
        record.conclude("b", PASSED)
    assert [each.subject for each in disk.saved] == ["b"], "nothing is left that could be taken for an end"


@given(st.lists(st.sampled_from(["die", "pass", "fail", "measure", "wait"]), max_size=12))
def test_a_subject_has_one_entry_and_counts_no_more_ends_than_there_were(events: list[str]) -> None:
    disk = Disk()
    n_ended = 0
    for each in events:
        record = disk.open()
        if each == "die":
            disk.die_in("a")
            n_ended += 1
        elif each == "wait":
            disk.now += 3600
        else:
            with record.kept(True), record.begun("a"):
                pass
            n_ended = 0
            if each != "measure":
                record.conclude("a", PASSED if each == "pass" else FAILED)
    record = disk.open()
    with record.kept(True):
        found = record.find("a")
        assert len(disk.saved) <= 1
        if n_ended >= 2:
            assert found is not None
            assert (found.outcome, found.n_ended) == (ENDED, n_ended)
        elif found is not None and found.outcome == ENDED:
            assert n_ended == 1
