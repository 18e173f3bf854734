"""Addresses of arrays, and copies of native memory."""

from __future__ import annotations

import numpy as np

from llmcore.llama.ffi.arrays import address_of, function_address, read_floats, read_string
from llmcore.llama.ffi.library import load_library


def test_text_of_grows_its_buffer() -> None:
    text = "x" * 1000

    def write(buffer: object, size: int) -> int:
        data = text.encode()[: size - 1]
        buffer[: len(data)] = data  # type: ignore[index]
        return len(text)

    assert read_string(16, write) == text


def test_floats_are_copied_from_an_address() -> None:
    array = np.arange(5, dtype=np.float32)
    copy = read_floats(address_of(array[1:]), 3)
    array[:] = 0
    assert copy.tolist() == [1, 2, 3]


def test_each_native_function_has_an_address() -> None:
    lib = load_library()
    assert 0 != function_address(lib.llama_decode) != function_address(lib.llama_encode) != 0
