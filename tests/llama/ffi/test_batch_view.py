"""A batch in llama.cpp's form."""

from __future__ import annotations

import ctypes as C

import numpy as np

from llmcore.llama.ffi.arrays import address_of
from llmcore.llama.ffi.batch_view import BatchView


def test_a_batch_view_points_at_its_arrays() -> None:
    arrays = (np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), np.array([5, 6, 7], np.int32))
    view = BatchView(*arrays, np.zeros(3, np.int8))
    assert view.struct.token == address_of(arrays[0])
    lists = np.ctypeslib.as_array(C.cast(view.struct.seq_id, C.POINTER(C.c_uint64)), (3,))
    assert [int(np.ctypeslib.as_array(C.cast(int(p), C.POINTER(C.c_int32)), (1,))[0]) for p in lists] == [
        5,
        6,
        7,
    ]
