"""Files that cannot be opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmcore.errors import ModelError, ModelFormatError, ModelMissingError
from llmcore.gguf.header import read_header


def test_no_file_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", Path(tmp_path / "a" / "b.gguf"), Path("with\0zero.gguf"), Path("x" * 5000)):
        with pytest.raises(ModelError):
            read_header(path)
    with pytest.raises(ModelMissingError, match=r"llmcore pull.*|MODEL_PATH"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(ModelMissingError, match="is a folder"):
        read_header(tmp_path)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelFormatError, match="not a regular file"):
        read_header(tmp_path / "pipe.gguf")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0)
    with pytest.raises(ModelError, match="Permission denied"):
        read_header(path)
