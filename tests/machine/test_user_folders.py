"""The user's folders, also without a home."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from llmcore.errors import ConfigError
from llmcore.machine import user_folders
from llmcore.machine.user_folders import cache_folder, can_have, expanded, named_cache_folder, temporary_folder


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is not in the user database, and TMPDIR is the only folder for temporary files."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(user_folders, "_TEMPORARY", ())


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/llmcore"),
        ({"HOME": "/h"}, "/h/.cache/llmcore"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/llmcore"),
        ({"XDG_CACHE_HOME": "", "HOME": "/"}, "/.cache/llmcore"),
    ],
)
def test_the_first_that_is_named(environ: dict[str, str], folder: str) -> None:
    assert named_cache_folder(environ) == cache_folder(environ) == Path(folder)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_the_user_database_knows_a_home(environ: dict[str, str]) -> None:
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert named_cache_folder(environ) == home / ".cache" / "llmcore"


@pytest.mark.usefixtures("no_home")
def test_an_unknown_user_has_a_private_temporary_folder(tmp_path: Path) -> None:
    folder = cache_folder({"TMPDIR": str(tmp_path)})
    assert folder == tmp_path / f"llmcore-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_folder({"TMPDIR": str(tmp_path)}) == folder, "the same one is found again"


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("environ", [{}, {"TMPDIR": "relative"}, {"TMPDIR": "/nowhere/at/all"}])
def test_there_may_be_no_folder_at_all(environ: dict[str, str]) -> None:
    assert cache_folder(environ) is None


@pytest.mark.parametrize("trap", ["link", "open", "file"])
def test_a_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_folders, "_TEMPORARY", ())
    path = tmp_path / f"llmcore-{os.geteuid()}"
    if trap == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "elsewhere")
    elif trap == "open":
        path.mkdir()
        path.chmod(0o777)
    else:
        path.write_bytes(b"")
    assert temporary_folder({"TMPDIR": str(tmp_path)}) is None


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_folders, "_TEMPORARY", ())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    (tmp_path / f"llmcore-{os.geteuid()}").mkdir(mode=0o700)
    assert temporary_folder({"TMPDIR": str(tmp_path)}) is None


def test_what_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert can_have(tmp_path)
    assert can_have(tmp_path / "a" / "b")
    assert not can_have(tmp_path / "file")
    assert not can_have(tmp_path / "file" / "a")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert can_have(tmp_path), "what is there can be read"
    assert not can_have(tmp_path / "a" / "b")


@pytest.mark.usefixtures("no_home")
def test_a_tilde_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/m", "MODEL_DIR") == tmp_path / "m"
    monkeypatch.delenv("HOME")
    with pytest.raises(ConfigError, match="MODEL_DIR: ~/m: there is no such home folder"):
        expanded("~/m", "MODEL_DIR")
