"""The binding against the headers it was built from: drift is an error at load, never memory corruption."""

from __future__ import annotations

import ctypes as C
import logging
from pathlib import Path

import numpy as np
import pytest

from llmcore.errors import AbiError, InvalidRequestError, LibraryError, NativeError
from llmcore.llama import ffi

STRUCT_NAMES = [struct.c_name for struct in ffi.STRUCTS]


def test_the_structures_agree_with_the_headers() -> None:
    ffi.check_abi(ffi.library().abi())


@pytest.mark.parametrize("change", [ffi.AbiRow(8, 4), ffi.AbiRow(4, 8), None], ids=["moved", "resized", "gone"])
def test_a_field_that_differs_is_a_clear_error(change: ffi.AbiRow | None) -> None:
    table = ffi.library().abi()
    name = "llama_context_params.n_batch"
    if change is None:
        del table[name]
    else:
        table[name] = change
    with pytest.raises(AbiError, match=r"llama_context_params\.n_batch.*do not belong together"):
        ffi.check_abi(table)


def test_a_field_that_the_headers_gained_is_noticed() -> None:
    table = ffi.library().abi() | {"llama_model_params.brand_new": ffi.AbiRow(0, 8)}
    with pytest.raises(AbiError, match=r"brand_new: llmcore/ffi\.py has no such field"):
        ffi.check_abi(table)


@pytest.mark.parametrize("name", STRUCT_NAMES)
def test_a_structure_of_another_size_is_noticed(name: str) -> None:
    table = ffi.library().abi()
    table[name] = ffi.AbiRow(table[name].value + 8, table[name].size + 8)
    with pytest.raises(AbiError, match=name):
        ffi.check_abi(table)


def test_a_missing_function_names_the_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffi, "SIGNATURES", (("llama_no_such_thing", None, ()),))
    with pytest.raises(LibraryError, match=r"llama_no_such_thing.*llama-cpp-python"):
        ffi.Library(ffi.library_dir())


def test_a_missing_library_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LibraryError, match="cannot load"):
        ffi.Library(tmp_path)
    monkeypatch.setattr(ffi, "LIBRARY_NAME", "libnothing.so")
    with pytest.raises(LibraryError, match="make build"):
        ffi.library_dir()


def test_check_turns_statuses_into_exceptions() -> None:
    lib = ffi.library()
    lib.check(0)
    with pytest.raises(InvalidRequestError, match="must not be NULL"):
        lib.check(lib.lc_backends_json(None))
    with pytest.raises(NativeError):
        lib.check(2)
    with pytest.raises(MemoryError):
        lib.check(3)


def test_the_build_says_what_it_is() -> None:
    info = ffi.library().build_info()
    assert info["llama_cpp"]
    assert info["cpu_build"] in ("native", "all")
    assert isinstance(info["blas"]["built"], bool)
    names = [backend["name"] for backend in ffi.library().backends()]
    assert "CPU" in names


def test_blas_takes_part_only_if_asked_for() -> None:
    lib = ffi.library()
    if not lib.build_info()["blas"]["built"]:
        with pytest.raises(InvalidRequestError, match="BLAS"):
            lib.check(lib.lc_blas_enable(True))
        return
    before = lib.lc_blas_enabled()
    for wanted in (True, True, False, False):
        lib.check(lib.lc_blas_enable(wanted))
        assert lib.lc_blas_enabled() == wanted
        assert ("BLAS" in [backend["name"] for backend in lib.backends()]) == wanted
    lib.check(lib.lc_blas_enable(before))


def test_native_log_lines_become_records(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="llmcore.native"):
        log = ffi.NativeLog()
        log(3, b"half a ", None)
        log(5, b"line\nand another\n", None)
        log(4, b"bad \xff bytes\n", None)
        log(2, b"....\n", None)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "half a line"),
        ("WARNING", "and another"),
        ("ERROR", "bad \ufffd bytes"),
    ]


def test_text_of_grows_its_buffer() -> None:
    text = "x" * 1000

    def write(buffer: object, size: int) -> int:
        data = text.encode()[: size - 1]
        buffer[: len(data)] = data  # type: ignore[index]
        return len(text)

    assert ffi.text_of(16, write) == text


def test_a_batch_view_points_at_its_arrays() -> None:
    arrays = (np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), np.array([5, 6, 7], np.int32))
    view = ffi.BatchView(*arrays, np.zeros(3, np.int8))
    assert view.struct.token == ffi.address(arrays[0])
    lists = np.ctypeslib.as_array(C.cast(view.struct.seq_id, C.POINTER(C.c_uint64)), (3,))
    assert [int(np.ctypeslib.as_array(C.cast(int(p), C.POINTER(C.c_int32)), (1,))[0]) for p in lists] == [
        5,
        6,
        7,
    ]
