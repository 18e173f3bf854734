"""Checks as lines, and whether any has failed."""

from __future__ import annotations

import os

from llmcore.doctor.check import Check, has_failed


def test_only_a_failure_counts_as_one() -> None:
    checks = [Check("a", "ok", "fine"), Check("b", "warn", "slow", "do this")]
    assert not has_failed(checks)
    assert not has_failed([])
    assert has_failed([*checks, Check("c", "fail", "broken", "do that")])


def test_names_of_files_that_are_no_text_can_be_printed() -> None:
    check = Check("model", "fail", os.fsdecode(b"/models/\xff.gguf"))
    assert check.found.encode("utf-8") == "/models/\ufffd.gguf".encode()
