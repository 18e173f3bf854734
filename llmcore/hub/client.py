"""Client of the Hugging Face hub: lists the files of a repository, and downloads one file and verifies it.

The network is used only in a child process (download_worker.py); this module does not import huggingface_hub.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmcore.hub import transfer
from llmcore.hub.reference import HUB, HubFile
from llmcore.hub.registry import HubSource, KnownModel
from llmcore.hub.transfer import (
    CHILD_PREAMBLE,
    DownloadProcess,
    DownloadProgress,
    Notify,
    SourceError,
    UnreachableError,
)
from llmcore.machine.user_folders import named_cache_folder, temporary_folder

WAIT_S = 1.0  # before the second attempt
SILENT_S = 300.0  # without a line or a byte, after which a transfer is ended

_CHILD = f"""{CHILD_PREAMBLE}
from llmcore.hub.download_worker import main
sys.exit(main(sys.argv[1]))
"""
# Plain HTTP: transfers by Xet leave chunks in a cache of their own and cannot be resumed by Range.
_ENVIRON = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class Listing(msgspec.Struct, frozen=True):
    """The files of a repository at a commit."""

    commit: str
    files: tuple[HubFile, ...]


class _Failure(msgspec.Struct, frozen=True):
    kind: str
    message: str
    number: int | None = None


def endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """Address of the hub, without a slash at the end."""
    return (environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def offline_variable(environ: Mapping[str, str] = os.environ) -> str:
    """Name of the environment variable that forbids the network, "" if none does."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return name
    return ""


def list_files(repo: str, revision: str, *, python: str, notify: Notify) -> Listing:
    """Lists the files of a repository at a revision, "" being its main branch. Raises SourceError."""
    request = {"command": "list", "repo": repo, "revision": revision}
    done = _ask(request, python, notify, folder=Path(os.devnull), n_bytes=0, progress=lambda *_: None)
    try:
        return msgspec.convert(done, Listing)
    except msgspec.ValidationError as error:
        raise SourceError(f"the hub's answer on {repo} is not understood: {error}") from None


def download(
    source: HubSource, model: KnownModel, folder: Path, *, python: str, progress: DownloadProgress, notify: Notify
) -> Path:
    """Downloads a file at a commit into a folder that holds nothing else but an earlier call's partial file, which is resumed.

    A file with the wrong digest is deleted and downloaded once more from its beginning: parts of several connections may have
    been joined wrongly. Raises SourceError, or OSError from writing; a partial file stays for a later call to resume.
    """
    request: dict[str, Any] = {"command": "download", "repo": source.repo, "revision": source.revision}
    request |= {"file": source.file, "folder": str(folder), "size_bytes": model.size_bytes, "sha256": model.sha256}
    verb = "resuming" if transfer.size_of(folder) else "downloading"
    notify(f"{verb} {source.file} from the hub ({model.size_bytes / 1e6:.0f} MB)")
    digest = ""
    for is_last in (False, True):
        path = Path(str(_ask(request, python, notify, folder=folder, n_bytes=model.size_bytes, progress=progress)))
        if not model.sha256:
            return path
        notify("verifying")
        digest = transfer.sha256_of(path, progress)
        if digest == model.sha256:
            return path
        path.unlink()
        if not is_last:
            notify(f"{source.file} has the wrong sha256, {digest}: fetching it once more from the beginning")
    raise SourceError(f"{source.file} has the wrong sha256, {digest}: it is not the file we know")


def home_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for a child of a user without a home folder. Without them huggingface_hub would look for a token in a
    folder `~` below the working directory, where anybody could put one."""
    if "HF_HOME" in environ or named_cache_folder(environ) is not None:
        return {}
    return {"HF_HOME": str(temporary_folder(environ) or os.devnull)}


def _ask(
    request: dict[str, Any], python: str, notify: Notify, *, folder: Path, n_bytes: int, progress: DownloadProgress
) -> object:
    """Runs one request in the child. Returns its answer; raises SourceError or OSError for its failure."""
    variable = offline_variable()
    if variable:
        raise UnreachableError(f"{variable} is set")
    answers: list[dict[str, Any]] = []

    def on_line(line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if isinstance(event, dict):
            if "note" in event:
                notify(_without_token(str(event["note"])))
            else:
                answers.append(event)

    command = [python, "-c", _CHILD, json.dumps({**request, "wait_s": WAIT_S})]
    child = DownloadProcess(command, _ENVIRON | home_environ(os.environ), "stdout")
    status = transfer.run_child(child, on_line, grows=folder, n_bytes=n_bytes, progress=progress, silent_s=SILENT_S)
    if not answers:
        raise SourceError(f"the process that asks the hub ended with status {status} and without an answer")
    if "failure" in answers[-1]:
        raise _error_of(msgspec.convert(answers[-1]["failure"], _Failure), request)
    return answers[-1].get("done")


def _error_of(failure: _Failure, request: Mapping[str, Any]) -> Exception:
    message = _without_token(failure.message)
    repo = request["repo"]
    if failure.kind == "os" and failure.number is not None:
        return OSError(failure.number, os.strerror(failure.number))
    if failure.kind == "unreachable":
        return UnreachableError(f"no connection ({message})")
    if failure.kind == "busy":
        return UnreachableError(message)
    messages = {
        "gated": f"{repo} is gated: accept its terms on its page, and set HF_TOKEN to a token of that account",
        "denied": f"the hub refuses {repo}: check HF_TOKEN ({message})",
        "repository_missing": f"there is no {repo}, or it is private: check the name, or set HF_TOKEN",
        "revision_missing": f"{repo} has no revision {request.get('revision')!r}",
        "entry_missing": f"{repo} has no {request.get('file')} at revision {request.get('revision')}",
    }
    return SourceError(messages.get(failure.kind, message))


def _without_token(text: str) -> str:
    for name in _TOKEN_VARIABLES:
        token = os.environ.get(name, "")
        if token:
            text = text.replace(token, "***")
    return text
