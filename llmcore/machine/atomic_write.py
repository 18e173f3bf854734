"""Atomic writes: a file is written under another name in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yields the path of a new file beside `path`, for the block to write. At the end of the block it replaces `path`; if the block
    raises, it is deleted and `path` is unchanged. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.urandom(6).hex()}{PARTIAL_SUFFIX}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file atomically, and makes its folder if that is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as partial:
        partial.write_bytes(data)
