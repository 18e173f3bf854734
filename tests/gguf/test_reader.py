"""Primitive values of a file, and the bounds on them."""

from __future__ import annotations

import io
import struct

import pytest

from llmcore.errors import ModelFormatError, ModelTruncatedError
from llmcore.gguf.reader import STRING, GgufReader


def reader(data: bytes, start: int = 0) -> GgufReader:
    return GgufReader(io.BytesIO(data), "m.gguf", len(data), start)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def test_values_follow_one_another() -> None:
    read = reader(b"skipped" + struct.pack("<If", 7, 0.5) + text("ü".encode()) + text(b"\xff"), len(b"skipped"))
    assert read.count("<I") == 7
    assert read.number("<f") == 0.5
    assert read.text("a string", 10) == "ü"
    assert read.string("a string", 10) == b"\xff"
    assert read.position == read.file_bytes


def test_text_is_bounded_and_utf8() -> None:
    with pytest.raises(ModelFormatError, match="a key of 5 bytes"):
        reader(text(b"12345")).string("a key", 4)
    with pytest.raises(ModelFormatError, match=r"a key is not UTF-8, at byte 8\."):
        reader(text(b"\xff")).text("a key", 4)
    assert reader(text(b"\xff")).text("a key", 4, strict=False) == "\ufffd"


def test_a_value_beyond_the_end_says_how_long_the_file_must_be() -> None:
    with pytest.raises(ModelTruncatedError, match="has 4 bytes and needs at least 8"):
        reader(b"1234").count()


def test_arrays_are_skipped_and_bounded() -> None:
    read = reader(text(b"a") + text(b"bc") + struct.pack("<3I", 1, 2, 3))
    read.skip_array(STRING, 2)
    read.skip_array(4, 3)
    assert read.position == read.file_bytes
    with pytest.raises(ModelFormatError, match="an array of"):
        reader(b"").skip_array(4, 2**60)
    with pytest.raises(ModelTruncatedError):
        reader(b"1234").skip_array(STRING, 1)
