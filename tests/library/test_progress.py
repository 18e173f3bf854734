"""Progress of lists."""

from __future__ import annotations

import pytest

from llmcore.library.progress import ListProgress


def test_a_function_is_called_for_each_prompt() -> None:
    calls: list[tuple[int, int]] = []
    with ListProgress(lambda n_done, n: calls.append((n_done, n)), 2) as progress:
        progress.end()
        progress.end()
    assert calls == [(1, 2), (2, 2)]


def test_a_bar_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with ListProgress(True, 2) as progress:
        progress.add_tokens(70)
        progress.end()
        progress.end()
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "70 tokens" in shown.err
    assert shown.out == ""


def test_without_progress_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with ListProgress(False, 1) as progress:
        progress.end()
    assert capsys.readouterr() == ("", "")
