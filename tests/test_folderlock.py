"""The lock file. How pulls use it is tests/test_hub.py's."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmcore.folderlock import locked


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
