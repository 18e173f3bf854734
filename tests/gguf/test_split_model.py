"""A model in several parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.errors import ModelFormatError, ModelSplitError, ModelTruncatedError
from llmcore.gguf.split_model import check_model_file
from tests.tiny_models import write_not_gguf, write_split, write_truncated


@pytest.fixture
def parts(tmp_path: Path, tiny_model: Path) -> list[Path]:
    return write_split(tmp_path, "m", tiny_model, 3)


def test_a_split_model_is_checked_as_a_whole(parts: list[Path], tiny_model: Path) -> None:
    header = check_model_file(parts[0])
    assert [part.path for part in header.parts] == [str(path) for path in parts[1:]]
    assert header.tensor_bytes == check_model_file(tiny_model).tensor_bytes


def test_another_part_names_the_first(parts: list[Path]) -> None:
    with pytest.raises(ModelSplitError, match="part 2 of 3") as caught:
        check_model_file(parts[1])
    assert str(parts[0]) in caught.value.message
    renamed = parts[1].rename(parts[1].with_name("x.gguf"))
    with pytest.raises(ModelSplitError, match=r"…-00001-of-00003\.gguf"):
        check_model_file(renamed)


def test_a_missing_part_is_named(parts: list[Path]) -> None:
    parts[2].unlink()
    with pytest.raises(ModelSplitError, match=r"part 3 of 3.*m-00003-of-00003\.gguf"):
        check_model_file(parts[0])


def test_a_truncated_part(parts: list[Path]) -> None:
    write_truncated(parts[1], parts[1], -1)
    with pytest.raises(ModelTruncatedError, match="00002-of-00003"):
        check_model_file(parts[0])


def test_the_first_part_under_another_name(parts: list[Path]) -> None:
    renamed = parts[0].rename(parts[0].with_name("renamed.gguf"))
    with pytest.raises(ModelSplitError, match="must keep its name"):
        check_model_file(renamed)


def test_parts_of_different_models(parts: list[Path], tmp_path: Path, tiny: Callable[..., Path]) -> None:
    (tmp_path / "other").mkdir()
    others = write_split(tmp_path / "other", "m", tiny("deeper", n_layer=3), 3)
    shutil.copy(others[2], parts[2])
    with pytest.raises(ModelSplitError, match="not of one model"):
        check_model_file(parts[0])
    shutil.copy(parts[1], parts[2])
    with pytest.raises(ModelSplitError, match="is not part 3 of 3"):
        check_model_file(parts[0])
    write_not_gguf(parts[2])
    with pytest.raises(ModelFormatError):
        check_model_file(parts[0])
