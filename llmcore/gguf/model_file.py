"""Opening of a model file, with errors that name what to do."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from llmcore.errors import ModelError, ModelFormatError, ModelMissingError
from llmcore.gguf.file_signatures import describe_folder


@contextmanager
def open_model_file(path: str) -> Iterator[BinaryIO]:
    """Opens a model file for reading. Raises ModelMissingError, ModelFormatError if it is no regular file, or ModelError if it
    cannot be read."""
    try:
        if not _can_exist(path):  # os.stat would raise ValueError
            raise FileNotFoundError
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ModelMissingError(f"{path} is a folder: {describe_folder(path)}", param="model_path")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its other end
            raise ModelFormatError(f"{path} is not a regular file", param="model_path")
        with open(path, "rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise ModelMissingError(
            f"there is no file {path!r}: `llmcore pull` fetches models", param="model_path"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", param="model_path") from None


def _can_exist(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False
