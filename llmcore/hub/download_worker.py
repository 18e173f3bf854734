"""What runs in the child process of a hub's transfer, the only place that imports huggingface_hub.

`main(JSON)` does one request and prints JSON lines: {"note": text} meanwhile, then {"done": …} or {"failure": …}.

A download goes into a file that outlives the process, so that a later one resumes it: hf_hub_download() would use a file
of its own for each call and delete it at a failure. The bytes come by huggingface_hub's http_get(), which resumes by
Range. The file's name derives from the ETag that the hub tells just before: another ETag, another file, so bytes of two
contents are never joined. What http_get() joins by itself, after a cut, is proved by the digest (hub/client.py).
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

N_ATTEMPTS = 5  # in a row without a new byte
N_CHANGES = 3  # of the file on the hub, while it is downloaded
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
    """What went wrong, as the parent is told: `kind` for programs, `message` for people."""

    def __init__(self, kind: str, message: str, *, number: int | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = " ".join(message.split())
        self.number = number  # errno
        self.retry_after_s = retry_after_s


def main(text: str) -> int:
    """Does the request that `text` (JSON) describes. Returns the exit status."""
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
    """Of one file of a repository at a commit into a folder, which holds nothing else."""

    def __init__(self, repo: str, revision: str, file: str, folder: str, size_bytes: int, sha256: str) -> None:
        self._repo, self._revision, self._file = repo, revision, file
        self._folder = Path(folder)
        self._size_bytes, self._sha256 = size_bytes, sha256
        self._n_changes = 0

    def run(self, wait_s: float) -> str:
        """Returns the path of the complete file."""
        return str(_persistently(self._attempt, self._n_bytes, wait_s))

    def _n_bytes(self) -> int:
        return sum(each.stat().st_size for each in self._folder.iterdir())

    def _attempt(self) -> Path:
        from huggingface_hub import constants, file_download, hf_hub_url
        from huggingface_hub.file_download import get_hf_file_metadata, http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        # http_get() writes in pieces of that size, by default 10 MB, and forgets what it has of one when a connection breaks.
        # Versions before 1.0 read a copy of the name.
        for module in (constants, file_download):
            vars(module)["DOWNLOAD_CHUNK_SIZE"] = _CHUNK_BYTES
        # The hub's own address, not the one it redirects to: that one is signed, and expires.
        url = hf_hub_url(self._repo, self._file, revision=self._revision)
        metadata = get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        size_bytes = self._checked_size(metadata.size, metadata.etag or "")
        path = self._partial(metadata.etag or "")
        with open(path, "ab") as file:
            if file.tell() > size_bytes > 0:
                file.truncate(0)
            if not size_bytes or file.tell() < size_bytes:
                # Compression would make ranges those of compressed bytes.
                headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
                http_get(url, file, resume_size=file.tell(), headers=headers, expected_size=size_bytes or None)
            file.flush()
            os.fsync(file.fileno())
        if not self._sha256 and get_hf_file_metadata(url, timeout=_TIMEOUT_S).etag != metadata.etag:
            raise DownloadFailure("busy", f"{self._file} changed on the hub while it was downloaded")
        return path

    def _checked_size(self, size_bytes: int | None, etag: str) -> int:
        """The file's size. Raises Failure where the hub says beforehand that it has another file than ours."""
        if self._sha256 and len(etag) == 64 and etag != self._sha256:
            raise DownloadFailure("other_file", f"{self._file} has the sha256 {etag}, not {self._sha256}")
        if self._size_bytes and size_bytes and size_bytes != self._size_bytes:
            raise DownloadFailure("other_file", f"{self._file} has {size_bytes:,} bytes, not {self._size_bytes:,}")
        return size_bytes or self._size_bytes

    def _partial(self, etag: str) -> Path:
        """Where the content of that ETag is collected; that of others is removed."""
        name = hashlib.sha256("\n".join((self._repo, self._file, etag)).encode()).hexdigest()[:32]
        for other in list(self._folder.iterdir()):
            # Without an ETag nothing says that it is the same content.
            if other.name != name or not etag:
                other.unlink()
                self._n_changes += 1
                _tell(note=f"{self._file} has changed on the hub: starting from the beginning")
        if self._n_changes > N_CHANGES:
            raise DownloadFailure("other", f"{self._file} keeps changing on the hub")
        return self._folder / name


def _persistently(attempt: Callable[[], Result], n_bytes: Callable[[], int], wait_s: float) -> Result:
    """Tries again after failures that may pass, N_ATTEMPTS times while `n_bytes` does not grow; waits `wait_s` first,
    then longer each time, or as long as the hub asks for."""
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
    """What an exception of huggingface_hub or of the HTTP library below it comes down to. Both are known by the names of
    their classes: which HTTP library it is has changed twice."""
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
    # Without a status and an errno, an OSError of http_get() says that too few bytes came.
    if names & _UNREACHABLE or (isinstance(error, OSError) and not status):
        return DownloadFailure("unreachable", f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return DownloadFailure("other", f"{type(error).__name__}: {text}")


def _retry_after_s(response: Any) -> float:
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    return 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
