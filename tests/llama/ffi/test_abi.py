"""The structures against the headers they were written from: drift is an error at load, never memory corruption."""

from __future__ import annotations

import pytest

from llmcore.errors import AbiError
from llmcore.llama.ffi.abi import AbiRow, check_abi
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.structures import STRUCTS

STRUCT_NAMES = [struct.c_name for struct in STRUCTS]


def test_the_structures_agree_with_the_headers() -> None:
    check_abi(load_library().abi())


@pytest.mark.parametrize("change", [AbiRow(8, 4), AbiRow(4, 8), None], ids=["moved", "resized", "gone"])
def test_a_field_that_differs_is_a_clear_error(change: AbiRow | None) -> None:
    table = load_library().abi()
    name = "llama_context_params.n_batch"
    if change is None:
        del table[name]
    else:
        table[name] = change
    with pytest.raises(AbiError, match=r"llama_context_params\.n_batch.*do not belong together"):
        check_abi(table)


def test_a_field_that_the_headers_gained_is_noticed() -> None:
    table = load_library().abi() | {"llama_model_params.brand_new": AbiRow(0, 8)}
    with pytest.raises(AbiError, match=r"brand_new: llmcore/llama/ffi/structures\.py has no such field"):
        check_abi(table)


@pytest.mark.parametrize("name", STRUCT_NAMES)
def test_a_structure_of_another_size_is_noticed(name: str) -> None:
    table = load_library().abi()
    table[name] = AbiRow(table[name].value + 8, table[name].size + 8)
    with pytest.raises(AbiError, match=name):
        check_abi(table)
