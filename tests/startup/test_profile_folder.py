"""The folder of profiles: named, in the user's cache, or temporary."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.startup.profile_folder import default_profile_dir, is_temporary, profile_folder


def test_the_folder_of_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMCORE_PROFILE_DIR", "/named")
    assert default_profile_dir() == Path("/named")
    monkeypatch.delenv("LLMCORE_PROFILE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_profile_dir() == tmp_path / "llmcore" / "profiles"
    assert profile_folder(EngineConfig(model_path="x")) == default_profile_dir()
    assert profile_folder(EngineConfig(model_path="x", profile_dir="/own")) == Path("/own")


@pytest.mark.parametrize("home", ["named", "absent", "unwritable"])
def test_a_user_without_a_home_keeps_profiles_for_a_while(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("LLMCORE_PROFILE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    if home != "absent":
        monkeypatch.setenv("HOME", str(tmp_path if home == "named" else tmp_path / "file"))
    folder = default_profile_dir()
    assert is_temporary(folder) == (home != "named")
    if home == "named":
        assert folder == tmp_path / ".cache" / "llmcore" / "profiles"
        assert not (tmp_path / f"llmcore-{os.geteuid()}").exists(), "no other folder is made"
    else:
        assert folder == tmp_path / f"llmcore-{os.geteuid()}" / "profiles"
