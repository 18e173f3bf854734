"""pull() from a stand-in of the hub: unknown facts, broken connections, resumed downloads, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from llmcore.errors import DownloadError
from llmcore.hub import model_store
from llmcore.hub.provenance import Provenance
from llmcore.hub.registry import HubSource, KnownModel
from tests.hub.wheels import (
    DATA,
    FILE,
    PROVENANCE,
    PULL_PROCESS,
    RECORD,
    fails,
    known,
    left,
    processes_with,
)
from tests.hub_stand_in import COMMIT, CONTENT, Fault, HubStandIn, connect, running, sha256


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandIn]:
    with running(HubStandIn({FILE: DATA})) as stand_in:
        connect(stand_in, monkeypatch, tmp_path)
        yield stand_in


def on_hub(file: str = FILE, revision: str = COMMIT) -> HubSource:
    return HubSource("owner/name", file, revision)


def test_pull_from_the_hub(hub_server: HubStandIn, models: Path) -> None:
    lines: list[str] = []
    assert model_store.pull(known(on_hub()), models, notify=lines.append).read_bytes() == DATA
    assert left(models) == [FILE, RECORD, PROVENANCE]
    assert [line.split()[0] for line in lines] == ["downloading", "verifying"]
    assert hub_server.kinds("api") == [], "everything is known beforehand"
    record = msgspec.json.decode((models / PROVENANCE).read_bytes(), type=Provenance)
    assert record == Provenance("owner/name", COMMIT, FILE, len(DATA), sha256(DATA))


def test_the_hub_has_another_file(hub_server: HubStandIn, models: Path) -> None:
    fails(known(on_hub(), data=DATA[::-1]), models, rf"tiny\.gguf has the sha256 {sha256(DATA)}, not [0-9a-f]{{64}}")
    assert hub_server.kinds("content") == [], "nothing is downloaded to find that out"


def test_the_hub_has_no_such_file(hub_server: HubStandIn, models: Path) -> None:
    fails(known(on_hub("absent.gguf")), models, f"owner/name has no absent.gguf at revision {COMMIT}")


def test_offline_mode_is_respected(hub_server: HubStandIn, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fails(known(on_hub()), models, "HF_HUB_OFFLINE is set")
    assert hub_server.seen == []


def test_what_the_registry_does_not_know_comes_from_the_hub(hub_server: HubStandIn, models: Path) -> None:
    model = KnownModel(name="tiny", file=FILE, sources=(on_hub(revision=""),))
    assert model_store.pull(model, models).read_bytes() == DATA
    assert (models / RECORD).read_text() == f"{sha256(DATA)}  {FILE}\n"
    assert msgspec.json.decode((models / PROVENANCE).read_bytes(), type=Provenance).revision == COMMIT
    n_requests = len(hub_server.seen)
    lines: list[str] = []
    model_store.pull(model, models, notify=lines.append)
    assert lines == ["tiny is already there"]
    assert len(hub_server.seen) == n_requests, "once is enough"


def test_an_unknown_file_is_compared_with_the_hub(hub_server: HubStandIn, models: Path) -> None:
    models.mkdir(parents=True)
    model = KnownModel(name="tiny", file=FILE, sources=(on_hub(revision=""),))
    (models / FILE).write_bytes(DATA[::-1])
    with pytest.raises(DownloadError, match="wrong sha256"):
        model_store.pull(model, models)
    (models / FILE).write_bytes(DATA)
    assert model_store.pull(model, models) == models / FILE
    assert hub_server.kinds("content") == []


def test_a_hub_that_names_no_digest(hub_server: HubStandIn, models: Path) -> None:
    hub_server.names_sha256 = False
    lines: list[str] = []
    model = KnownModel(name="tiny", file=FILE, sources=(on_hub(),))
    assert model_store.pull(model, models, notify=lines.append).read_bytes() == DATA
    assert "the hub names no sha256 for tiny.gguf: only its size is checked" in lines
    assert (models / RECORD).read_text() == f"{sha256(DATA)}  {FILE}\n", "what came is recorded all the same"


def test_a_digest_without_a_revision_is_enough(hub_server: HubStandIn, models: Path) -> None:
    assert model_store.pull(known(on_hub(revision="")), models).read_bytes() == DATA
    assert msgspec.json.decode((models / PROVENANCE).read_bytes(), type=Provenance).revision == COMMIT


def test_what_came_is_kept_and_resumed(hub_server: HubStandIn, models: Path) -> None:
    data = os.urandom(2**20)
    hub_server.files[FILE] = data
    hub_server.fail(CONTENT, Fault(cut_after=2**19), *[Fault(status=503)] * 5)
    with pytest.raises(DownloadError, match=r"the hub answers 503.* try again: the 1 MB that came are kept"):
        model_store.pull(known(on_hub(), data=data), models)
    assert left(models) == [f".{FILE}.partial"]
    lines: list[str] = []
    assert model_store.pull(known(on_hub(), data=data), models, notify=lines.append).read_bytes() == data
    assert lines[0].startswith("resuming")
    assert hub_server.kinds("content")[-1].range == f"bytes={2**19}-"
    assert left(models) == [FILE, RECORD, PROVENANCE]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_in_the_middle_and_resumed(hub_server: HubStandIn, models: Path, number: signal.Signals) -> None:
    data = os.urandom(2**20)
    hub_server.files[FILE] = data
    hub_server.fail(CONTENT, Fault(stalls_after=2**19))
    command = [
        sys.executable,
        "-c",
        PULL_PROCESS,
        msgspec.json.encode(known(on_hub(), data=data)).decode(),
        str(models),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 2**19:
                break
        process.send_signal(number)
        assert process.wait(10) != 0
    deadline = time.monotonic() + 5
    while processes_with(str(models)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(str(models)) == [], "the download lives on"
    assert model_store.pull(known(on_hub(), data=data), models).read_bytes() == data
    assert hub_server.kinds("content")[-1].range == f"bytes={2**19}-"
    assert left(models) == [FILE, RECORD, PROVENANCE]


def test_a_full_disk_keeps_nothing(hub_server: HubStandIn, models: Path) -> None:
    """Writes a megabyte to a disk of 700 kB; the free-space check passes since the size is unknown."""
    models.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(models)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        hub_server.files[FILE] = os.urandom(2**20)
        hub_server.names_sha256 = hub_server.tells_size = False
        fails(KnownModel(name="tiny", file=FILE, sources=(on_hub(),)), models, "is full: make room")
    finally:
        subprocess.run(["umount", str(models)], check=True)
