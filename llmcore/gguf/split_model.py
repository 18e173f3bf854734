"""A model in one file or in several parts, with the file names of llama_split_path."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from llmcore.errors import ModelSplitError
from llmcore.gguf.header import GgufHeader, read_header

_SPLIT_NAME = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def check_model_file(path: str | os.PathLike[str]) -> GgufHeader:
    """Reads and checks the header of a model; for a split model also those of all parts, which become the header's `parts`.

    Raises the errors of read_header(), and ModelSplitError for a part that is not the first, or a part that is missing or of
    another model.
    """
    header = read_header(path)
    count, number = header.number("split.count"), header.number("split.no")
    if count <= 1:
        return header
    named = _SPLIT_NAME.fullmatch(header.path)
    right_name = named is not None and int(named["number"]) == number + 1 and int(named["count"]) == count
    if number != 0:
        first = _part_path(named["prefix"], 0, count) if named and right_name else f"…-00001-of-{count:05d}.gguf"
        raise ModelSplitError(
            f"{header.path} is part {number + 1} of {count} of a split model: name the first part, {first}",
            param="model_path",
        )
    if not named or not right_name:
        raise ModelSplitError(
            f"{header.path} is the first of {count} parts of a split model and must keep its name, "
            f"…-00001-of-{count:05d}.gguf, so that the others are found",
            param="model_path",
        )
    parts = tuple(_read_part(_part_path(named["prefix"], index, count), index, count) for index in range(1, count))
    n_tensors = len(header.tensors) + sum(len(part.tensors) for part in parts)
    if n_tensors != header.number("split.tensors.count", n_tensors):
        raise ModelSplitError(
            f"the parts of {header.path} hold {n_tensors} tensors and it announces "
            f"{header.number('split.tensors.count')}: they are not of one model",
            param="model_path",
        )
    return replace(header, parts=parts)


def _part_path(prefix: str, index: int, count: int) -> str:
    # llama_split_path
    return f"{prefix}-{index + 1:05d}-of-{count:05d}.gguf"


def _read_part(path: str, index: int, count: int) -> GgufHeader:
    if not os.path.exists(path):
        raise ModelSplitError(f"part {index + 1} of {count} of the split model is missing: {path}", param="model_path")
    header = read_header(path)
    if header.number("split.no", -1) != index or header.number("split.count", -1) != count:
        raise ModelSplitError(
            f"{path} is not part {index + 1} of {count}: its metadata says otherwise", param="model_path"
        )
    return header
