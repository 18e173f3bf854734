"""Provenance of model files: the repository and commit that a file came from, in `<file>.source.json` beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

_SUFFIX = ".source.json"


class Provenance(msgspec.Struct, frozen=True):
    """A file of a repository at a commit. `asked` is the revision that was requested, "" for the main branch; `sha256` (in hex) is
    that of the file on disk."""

    repo: str
    revision: str
    file: str
    size_bytes: int
    sha256: str
    asked: str = ""


def write(path: Path, provenance: Provenance) -> None:
    """Writes the record of the model file `path`. A folder that cannot be written to is not an error."""
    with contextlib.suppress(OSError):
        record = path.with_name(path.name + _SUFFIX)
        record.write_bytes(msgspec.json.format(msgspec.json.encode(provenance)) + b"\n")


def below(folder: Path) -> Iterator[tuple[Path, Provenance]]:
    """Yields the model files below a folder that have a record and its size, in order of path."""
    for record in sorted(folder.rglob("*.gguf" + _SUFFIX)):
        path = record.with_name(record.name.removesuffix(_SUFFIX))
        try:
            provenance = msgspec.json.decode(record.read_bytes(), type=Provenance)
            if path.stat().st_size == provenance.size_bytes:
                yield path, provenance
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
