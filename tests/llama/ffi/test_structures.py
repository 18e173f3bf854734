"""Structures under their C names."""

from __future__ import annotations

from llmcore.llama.ffi.structures import STRUCTS


def test_a_class_is_named_as_its_structure_in_c() -> None:
    for struct in STRUCTS:
        assert struct.__name__ == "".join(word.capitalize() for word in struct.c_name.split("_"))


def test_the_abi_table_covers_each_structure_once() -> None:
    names = [struct.c_name for struct in STRUCTS]
    assert len(names) == len(set(names))
