"""A flag in native memory."""

from __future__ import annotations

from llmcore.llama.ffi.abort_flag import AbortFlag
from llmcore.llama.ffi.library import load_library


def test_native_code_reads_the_flag_where_its_address_is() -> None:
    flag, lib = AbortFlag(), load_library()
    assert not lib.lc_abort_if_set(flag.address)
    flag.set(True)
    assert flag.is_set
    assert lib.lc_abort_if_set(flag.address)
    flag.set(False)
    assert not lib.lc_abort_if_set(flag.address)
