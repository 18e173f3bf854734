"""Addresses of numpy arrays for native code, and copies of native memory."""

from __future__ import annotations

import ctypes as C
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]
UInt32Array = npt.NDArray[np.uint32]
Float32Array = npt.NDArray[np.float32]


def address_of(array: npt.NDArray[Any]) -> int:
    """Returns the address of an array's first element. The caller keeps the array alive."""
    data: int = array.__array_interface__["data"][0]  # a quarter of the time of array.ctypes.data
    return data


def int32_pointer(array: Int32Array) -> Any:
    """Returns an array as `int32_t *`."""
    return array.ctypes.data_as(C.POINTER(C.c_int32))


def read_floats(pointer: int, count: int) -> Float32Array:
    """Returns a copy of `count` floats at an address."""
    floats: Float32Array = np.ctypeslib.as_array(C.cast(pointer, C.POINTER(C.c_float)), (count,)).copy()
    return floats


def read_string(size: int, call: Callable[[object, int], int]) -> str:
    """Returns the string that `call(buffer, size)` writes. Like snprintf, `call` returns the length needed, or a negative number.

    Args:
        size: bytes of the first buffer; a longer string costs a second call.
    """
    while True:
        buffer = C.create_string_buffer(size)
        n = call(buffer, size)
        if n < size:
            return buffer.raw[: max(n, 0)].decode("utf-8", "replace")
        size = n + 1


def function_address(function: Any) -> int:
    """Returns the address of a native function, for other native code that calls it."""
    return C.cast(function, C.c_void_p).value or 0
