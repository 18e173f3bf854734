"""Child processes that transfer bytes: their lines, the growth of their folder, and their end."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from llmcore.hub import transfer
from llmcore.hub.transfer import CHILD_PREAMBLE, DownloadProcess, SourceError, UnreachableError


def child(code: str, listen: str = "stdout", **environ: str) -> DownloadProcess:
    return DownloadProcess([sys.executable, "-c", CHILD_PREAMBLE + code], environ, listen)


@pytest.mark.parametrize("listen", ["stdout", "stderr"])
def test_the_lines_of_one_stream_and_the_status(tmp_path: Path, listen: str) -> None:
    lines: list[str] = []
    code = f"print(os.environ['SAID'], file=sys.{listen}); sys.{listen}.buffer.write(b'\\xff'); sys.exit(7)"
    status = transfer.run_child(
        child(code, listen, SAID="one"), lines.append, grows=tmp_path, n_bytes=0, progress=lambda *_: None
    )
    assert (status, lines) == (7, ["one", "\ufffd"])


def test_progress_is_what_the_folder_grows_by(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    code = f"import time; open({str(tmp_path / 'x')!r}, 'wb').write(bytes(100)); time.sleep(0.5)"
    transfer.run_child(
        child(code), print, grows=tmp_path, n_bytes=80, progress=lambda done, total: steps.append((done, total))
    )
    assert steps[-1] == (80, 80)


def test_a_child_that_neither_speaks_nor_grows_is_ended(tmp_path: Path) -> None:
    pid: list[str] = []
    code = "print(os.getpid(), flush=True); import time; time.sleep(60)"
    with pytest.raises(UnreachableError, match="nothing came for 0 s"):
        transfer.run_child(child(code), pid.append, grows=tmp_path, n_bytes=0, progress=lambda *_: None, silent_s=0.3)
    # On a slow machine it may not have printed anything; it was ended all the same.
    assert not any(Path(f"/proc/{each}").exists() for each in pid)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot start /no/python"):
        transfer.run_child(
            DownloadProcess(["/no/python"], {}, "stdout"), print, grows=tmp_path, n_bytes=0, progress=lambda *_: None
        )


def test_what_says_that_a_disk_is_full() -> None:
    assert transfer.is_disk_full(errno.EDQUOT)
    assert not transfer.is_disk_full(errno.EACCES)
    assert not transfer.is_disk_full(None)
    assert transfer.says_disk_full(f"pip: {os.strerror(errno.ENOSPC)}")
    assert not transfer.says_disk_full("pip: not found")
