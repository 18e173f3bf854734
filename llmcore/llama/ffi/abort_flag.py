"""A flag that ends a step."""

from __future__ import annotations

import ctypes as C


class AbortFlag:
    """A flag in native memory that llama.cpp polls during a step. Setting it needs no interpreter lock."""

    def __init__(self) -> None:
        self._value = C.c_bool(False)

    @property
    def is_set(self) -> bool:
        return bool(self._value.value)

    def set(self, value: bool) -> None:
        self._value.value = value

    @property
    def address(self) -> int:
        """Address of the flag, valid as long as this object."""
        return C.addressof(self._value)
