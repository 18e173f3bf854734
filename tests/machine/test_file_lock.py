"""The lock file. Its use by pulls is tested in tests/hub/test_model_store.py."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmcore.machine.file_lock import lock_if_free, locked


def test_it_is_there_only_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, lambda: pytest.fail("nobody holds it")):
        assert path.exists()
    assert not path.exists()
    with pytest.raises(RuntimeError), locked(path, lambda: None):
        raise RuntimeError
    assert not path.exists()


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    inside: list[int] = []
    waiting = threading.Event()

    def second() -> None:
        with locked(path, waiting.set):
            inside.append(2)

    with locked(path, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        inside.append(1)
    thread.join(30)
    assert inside == [1, 2]
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "nowhere" / ".lock", lambda: None):
        pass


def test_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "made" / ".lock"
    with lock_if_free(path) as first, lock_if_free(path) as second:
        assert (first, second) == (True, False)
    with lock_if_free(path) as again:
        assert again
    assert not path.exists()
    with pytest.raises(BlockingIOError, match="mine"), lock_if_free(path):
        raise BlockingIOError("mine")
    assert not path.exists()


def test_a_lock_that_cannot_be_written_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with lock_if_free(tmp_path / "file" / ".lock") as held:
        assert not held
