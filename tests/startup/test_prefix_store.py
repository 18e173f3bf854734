"""Prefixes on disk: a saved state is loaded complete or not at all."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.startup.prefix_store import PrefixStore
from tests.log_events import event_names

STATE = np.arange(1000, dtype=np.int64).view(np.uint8)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path / "kept", "model-1")
    assert store.load([1, 2, 3]) is None
    store.save([1, 2, 3], STATE)
    loaded = store.load([1, 2, 3])
    assert loaded is not None
    assert np.array_equal(loaded, STATE)
    assert store.load([1, 2]) is None
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".prefix"]


def test_another_model_or_build_finds_nothing(tmp_path: Path) -> None:
    PrefixStore(tmp_path, "model-1").save([1, 2, 3], STATE)
    assert PrefixStore(tmp_path, "model-2").load([1, 2, 3]) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "header", "foreign"])
def test_what_is_damaged_is_not_loaded_and_said(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PrefixStore(tmp_path, "model-1")
    store.save([1, 2, 3], STATE)
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        del data[-1:]
    elif damage == "flip":
        data[-5] ^= 1
    elif damage == "empty":
        data.clear()
    elif damage == "header":
        data[30] ^= 0xFF
    else:
        other = tmp_path / "other"
        PrefixStore(other, "model-2").save([1, 2, 3], STATE)
        data = bytearray(next(other.iterdir()).read_bytes())
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert store.load([1, 2, 3]) is None
    assert "prefix_damaged" in event_names(caplog)
    store.save([1, 2, 3], STATE)
    assert store.load([1, 2, 3]) is not None


def test_a_folder_that_cannot_be_used_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = PrefixStore(blocked, "model-1")
    with caplog.at_level(logging.WARNING):
        store.save([1], STATE)
        assert store.load([1]) is None
    assert "prefix_not_kept" in event_names(caplog)


# --- What stays in the folder -----------------------------------------------------------------------------------------


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def size_of_one(folder: Path) -> int:
    PrefixStore(folder, "model-1").save([0], STATE)
    (path,) = files(folder)
    return path.stat().st_size


def test_files_are_for_their_owner_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = os.umask(0)
    try:
        PrefixStore(tmp_path / "new" / "kept", "model-1").save([1], STATE)
    finally:
        os.umask(mask)
    folder = tmp_path / "new" / "kept"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(folder)] == [0o600]
    assert "prefix_dir_open" not in event_names(caplog)


def test_a_folder_that_others_can_read_is_a_warning_and_files_in_it_are_made_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    PrefixStore(tmp_path, "model-1").save([1], STATE)
    (path,) = files(tmp_path)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    store = PrefixStore(tmp_path, "model-1")
    assert "prefix_dir_open" in event_names(caplog)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert store.load([1]) is not None


def test_what_a_crash_left_is_removed_but_not_what_is_being_written(tmp_path: Path) -> None:
    abandoned = [tmp_path / f"{'ab' * 16}.prefix.{word}.partial" for word in ("77", "0a1b2c3d4e5f")]
    written, foreign = tmp_path / f"{'cd' * 16}.prefix.ff.partial", tmp_path / "notes.partial"
    for path in (*abandoned, written, foreign):
        path.write_bytes(b"x" * 100)
    with written.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        PrefixStore(tmp_path, "model-1")
        assert files(tmp_path) == sorted((written, foreign))
    PrefixStore(tmp_path, "model-1")
    assert files(tmp_path) == [foreign]


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = PrefixStore(tmp_path, "model-1")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    store.save([1], STATE)
    assert files(tmp_path) == []
    assert "prefix_not_kept" in event_names(caplog)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_of_ours_is_not_read(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "kept"
    PrefixStore(folder, "model-1").save([1], STATE)
    (path,) = files(folder)
    path.rename(elsewhere := tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert PrefixStore(folder, "model-1").load([1]) is None
    assert "prefix_unreadable" in event_names(caplog)


def test_a_file_of_another_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PrefixStore(tmp_path, "model-1")
    store.save([1], STATE)
    (path,) = files(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert store.load([1]) is None


def test_a_file_goes_with_its_last_name(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path, "model-1")
    for tokens in ([1], [2]):
        store.save(tokens, STATE)
    store.retain([[1], [2]])
    assert len(files(tmp_path)) == 2
    store.retain([[2]])
    assert (store.has([1]), store.has([2])) == (False, True)
    assert len(files(tmp_path)) == 1
    store.retain([])
    assert files(tmp_path) == []


def test_files_of_an_earlier_process_stay_until_the_bound_asks_for_them(tmp_path: Path) -> None:
    n = size_of_one(tmp_path)
    store = PrefixStore(tmp_path, "model-1", 3 * n)
    store.retain([])
    assert len(files(tmp_path)) == 1


def test_the_folder_is_bounded_and_the_oldest_unused_file_goes_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    n = size_of_one(tmp_path)
    earlier = PrefixStore(tmp_path, "model-1")
    other = PrefixStore(tmp_path, "model-2")
    for used_s, (store, tokens) in enumerate([(earlier, [1]), (earlier, [2]), (other, [1])]):
        store.save(tokens, STATE)
        os.utime(store._path(tokens), (used_s, used_s))
    os.utime(earlier._path([0]), (9, 9))
    store = PrefixStore(tmp_path, "model-1", 4 * n)
    assert store.load([1]) is not None  # the oldest, but in use from now on
    store.save([3], STATE)
    assert [store._path(each).exists() for each in ([0], [1], [2], [3])] == [True, True, False, True]
    assert other._path([1]).exists()
    assert event_names(caplog).count("prefix_files_evicted") == 1
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 4 * n


def test_what_does_not_fit_beside_files_in_use_is_not_kept_and_nothing_is_deleted_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    n = size_of_one(tmp_path)
    store = PrefixStore(tmp_path, "model-1", 2 * n + 10)
    store.save([1], STATE)
    store.save([2], np.zeros(2 * n, np.uint8))
    assert "prefix_not_kept" in event_names(caplog)
    assert [store._path(each).exists() for each in ([0], [1], [2])] == [True, True, False]
    store.save([2], STATE)
    assert [store._path(each).exists() for each in ([0], [1], [2])] == [False, True, True]


def test_a_lower_bound_holds_from_the_next_change_on(tmp_path: Path) -> None:
    n = size_of_one(tmp_path)
    for token in (1, 2, 3):
        PrefixStore(tmp_path, "model-1").save([token], STATE)
    PrefixStore(tmp_path, "model-1", 2 * n).retain([])
    assert len(files(tmp_path)) == 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["save", "load", "retain"]), st.integers(1, 6)), max_size=25))
def test_whatever_happens_the_bound_holds_and_pinned_files_stay(changes: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_max = 3 * size_of_one(folder) + 100
        store, pinned = PrefixStore(folder, "model-1", n_max), set[int]()
        for change, token in changes:
            if change == "retain":
                pinned.discard(token)
                store.retain([[each] for each in pinned])
                assert not store.has([token])
            elif change == "save":
                store.save([token], STATE)
            elif store.load([token]) is not None:
                assert store.has([token])
            if store.has([token]):
                pinned.add(token)
            assert all(store.has([each]) for each in pinned)
            assert sum(path.stat().st_size for path in files(folder)) <= n_max
