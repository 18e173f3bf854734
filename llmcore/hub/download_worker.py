"""Child process of the hub's client, the only place that imports huggingface_hub.

`main(JSON)` performs one request and prints JSON lines: {"note": text} meanwhile, then {"done": …} or {"failure": …}.

A download is written to a file that outlives the process, so that a later one can resume it; hf_hub_download() would use a new
file for each call and delete it at a failure. huggingface_hub's http_get() transfers the bytes and resumes by Range. The file's
name is derived from the ETag that the hub sends just before, so bytes of two contents are never joined in one file. Parts that
http_get() joins by itself after a broken connection are covered by the digest (hub/client.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

N_ATTEMPTS = 5  # failures in a row without a new byte
N_CHANGES = 3  # changes of the file on the hub during a download
WAIT_MAX_S = 30.0
RETRY_AFTER_MAX_S = 120.0
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 2**18

_TRANSIENT = frozenset({"unreachable", "busy"})
_UNREACHABLE = frozenset(
    {"TransportError", "ConnectionError", "Timeout", "ChunkedEncodingError", "TimeoutError", "SSLError"}
)

Result = TypeVar("Result")


class DownloadFailure(Exception):
    """Failure of a request, as it is sent to the parent: `kind` for programs, `message` for people."""

    def __init__(self, kind: str, message: str, *, number: int | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = " ".join(message.split())
        self.number = number  # errno
        self.retry_after_s = retry_after_s


def main(text: str) -> int:
    """Performs the request that `text` (JSON) describes. Returns the exit status."""
    request = json.loads(text)
    wait_s = request.pop("wait_s")
    try:
        if request.pop("command") == "list":
            _tell(done=_persistently(lambda: _list(**request), lambda: 0, wait_s))
        else:
            _tell(done=_Download(**request).run(wait_s))
        return 0
    except Exception as error:
        failure = failure_of(error)
        _tell(failure={"kind": failure.kind, "message": failure.message, "number": failure.number})
        return 1


def _tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def _list(repo: str, revision: str) -> dict[str, Any]:
    from huggingface_hub import HfApi

    info = HfApi().model_info(repo, revision=revision or None, files_metadata=True, timeout=_TIMEOUT_S)
    files = [
        {"path": each.rfilename, "size_bytes": each.size or 0, "sha256": each.lfs.sha256 if each.lfs else ""}
        for each in info.siblings or []
    ]
    return {"commit": info.sha or "", "files": files}


class _Download:
    """Download of one file of a repository at a commit into a folder that holds nothing else."""

    def __init__(self, repo: str, revision: str, file: str, folder: str, size_bytes: int, sha256: str) -> None:
        self._repo, self._revision, self._file = repo, revision, file
        self._folder = Path(folder)
        self._size_bytes, self._sha256 = size_bytes, sha256
        self._n_changes = 0

    def run(self, wait_s: float) -> str:
        """Downloads until the file is complete. Returns its path."""
        return str(_persistently(self._attempt, self._n_bytes, wait_s))

    def _n_bytes(self) -> int:
        return sum(each.stat().st_size for each in self._folder.iterdir())

    def _attempt(self) -> Path:
        from huggingface_hub import constants, file_download, hf_hub_url
        from huggingface_hub.file_download import get_hf_file_metadata, http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        # http_get() writes in chunks of this size (by default 10 MB), and loses an incomplete chunk when a connection breaks.
        # Versions before 1.0 read a copy of the name.
        for module in (constants, file_download):
            vars(module)["DOWNLOAD_CHUNK_SIZE"] = _CHUNK_BYTES
        # The hub's own address; the one it redirects to is signed and expires.
        url = hf_hub_url(self._repo, self._file, revision=self._revision)
        metadata = get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        size_bytes = self._checked_size(metadata.size, metadata.etag or "")
        path = self._partial(metadata.etag or "")
        with open(path, "ab") as file:
            if file.tell() > size_bytes > 0:
                file.truncate(0)
            if not size_bytes or file.tell() < size_bytes:
                # With compression, ranges would count compressed bytes.
                headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
                http_get(url, file, resume_size=file.tell(), headers=headers, expected_size=size_bytes or None)
            file.flush()
            os.fsync(file.fileno())
        if not self._sha256 and get_hf_file_metadata(url, timeout=_TIMEOUT_S).etag != metadata.etag:
            raise DownloadFailure("busy", f"{self._file} changed on the hub while it was downloaded")
        return path

    def _checked_size(self, size_bytes: int | None, etag: str) -> int:
        """Returns the file's size. Raises DownloadFailure if the hub announces another file than the expected one."""
        if self._sha256 and len(etag) == 64 and etag != self._sha256:
            raise DownloadFailure("other_file", f"{self._file} has the sha256 {etag}, not {self._sha256}")
        if self._size_bytes and size_bytes and size_bytes != self._size_bytes:
            raise DownloadFailure("other_file", f"{self._file} has {size_bytes:,} bytes, not {self._size_bytes:,}")
        return size_bytes or self._size_bytes

    def _partial(self, etag: str) -> Path:
        """Path of the partial file for an ETag. Deletes the partial files of other ETags."""
        name = hashlib.sha256("\n".join((self._repo, self._file, etag)).encode()).hexdigest()[:32]
        for other in list(self._folder.iterdir()):
            # Without an ETag, the content may have changed.
            if other.name != name or not etag:
                other.unlink()
                self._n_changes += 1
                _tell(note=f"{self._file} has changed on the hub: starting from the beginning")
        if self._n_changes > N_CHANGES:
            raise DownloadFailure("other", f"{self._file} keeps changing on the hub")
        return self._folder / name


def _persistently(attempt: Callable[[], Result], n_bytes: Callable[[], int], wait_s: float) -> Result:
    """Repeats an attempt after transient failures, at most N_ATTEMPTS times while `n_bytes` does not grow. Waits `wait_s` before
    the second attempt, twice as long before each further one, or as long as the hub asks for."""
    n_failures = 0
    while True:
        before = n_bytes()
        try:
            return attempt()
        except Exception as error:
            failure = failure_of(error)
            n_failures = 1 if n_bytes() > before else n_failures + 1
            if failure.kind not in _TRANSIENT or n_failures >= N_ATTEMPTS:
                raise failure from error
            if failure.retry_after_s > RETRY_AFTER_MAX_S:
                message = f"{failure.message}; it asks to come again in {failure.retry_after_s:.0f} s"
                raise DownloadFailure("busy", message) from error
            delay_s = max(failure.retry_after_s, min(wait_s * 2 ** (n_failures - 1), WAIT_MAX_S))
            _tell(note=f"{failure.message}: trying again in {delay_s:.3g} s")
            time.sleep(delay_s)


def failure_of(error: Exception) -> DownloadFailure:
    """Classifies an exception of huggingface_hub or of its HTTP library. Classes are compared by name, since the HTTP library has
    changed twice."""
    names = {each.__name__ for each in type(error).__mro__}
    response = getattr(error, "response", None)
    status = int(getattr(response, "status_code", 0) or 0)
    text = " ".join(str(error).split())[:300]
    if isinstance(error, DownloadFailure):
        return error
    if isinstance(error, ImportError):
        return DownloadFailure("other", f"huggingface_hub cannot be imported: {text}")
    if isinstance(error, OSError) and error.errno and not names & _UNREACHABLE:
        return DownloadFailure("os", text, number=error.errno)
    if "GatedRepoError" in names:
        return DownloadFailure("gated", text)
    for name in ("RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"):
        if name in names:
            return DownloadFailure(name.removesuffix("NotFoundError").lower() + "_missing", text)
    if status in (401, 403):
        return DownloadFailure("denied", text)
    if status in (408, 429) or status >= 500:
        what = (
            "the hub answers that there are too many requests (429)" if status == 429 else f"the hub answers {status}"
        )
        return DownloadFailure("busy", what, retry_after_s=_retry_after_s(response))
    # http_get() raises an OSError without a status or an errno if too few bytes came.
    if names & _UNREACHABLE or (isinstance(error, OSError) and not status):
        return DownloadFailure("unreachable", f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return DownloadFailure("other", f"{type(error).__name__}: {text}")


def _retry_after_s(response: Any) -> float:
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
