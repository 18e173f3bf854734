"""Compares the structures of structures.py with the headers that the shim was built with (the shim's ABI table)."""

from __future__ import annotations

import ctypes as C
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from llmcore.errors import AbiError
from llmcore.llama.ffi.structures import STRUCTS, NativeStructure

PINNED = "llama.cpp of llama-cpp-python 0.3.36 (native/llama.cpp.lock)"


class AbiRow(NamedTuple):
    """Size of a structure (`value` = `size`), or offset (`value`) and size of a field, in bytes."""

    value: int
    size: int


def abi_of(struct: type[NativeStructure]) -> dict[str, AbiRow]:
    """Returns the layout that ctypes gives a structure, in the form of the shim's table."""
    rows = {struct.c_name: AbiRow(C.sizeof(struct), C.sizeof(struct))}
    for name in _field_names(struct):
        descriptor = getattr(struct, name)
        rows[f"{struct.c_name}.{name}"] = AbiRow(descriptor.offset, descriptor.size)
    return rows


def check_abi(native: Mapping[str, AbiRow], structs: Iterable[type[NativeStructure]] = STRUCTS) -> None:
    """Compares each structure with the shim's table, both ways. Raises AbiError naming the first difference."""
    for struct in structs:
        ours = abi_of(struct)
        theirs = {name: row for name, row in native.items() if name.partition(".")[0] == struct.c_name}
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise AbiError(
                    f"{name}: llmcore/llama/ffi/structures.py has {_describe(ours.get(name))}, the headers of {PINNED} have "
                    f"{_describe(theirs.get(name))}; the binding and the native library do not belong together"
                )


def _field_names(struct: Any) -> list[str]:
    """Names of a structure's fields, with those of an anonymous union in the union's place."""
    unions = getattr(struct, "_anonymous_", ())
    return [found for name, kind, *_ in struct._fields_ for found in (_field_names(kind) if name in unions else [name])]


def _describe(row: AbiRow | None) -> str:
    return "no such field" if row is None else f"offset or size {row.value}, {row.size} bytes"
