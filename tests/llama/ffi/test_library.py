"""Loading of the native library, and its errors as exceptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.errors import InvalidRequestError, LibraryError, NativeError
from llmcore.llama.ffi import library
from llmcore.llama.ffi.library import Library, library_dir, load_library


def test_a_missing_function_names_the_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SIGNATURES", (("llama_no_such_thing", None, ()),))
    with pytest.raises(LibraryError, match=r"llama_no_such_thing.*llama-cpp-python"):
        Library(library_dir())


def test_a_missing_library_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LibraryError, match="cannot load"):
        Library(tmp_path)
    monkeypatch.setattr(library, "LIBRARY_NAME", "libnothing.so")
    with pytest.raises(LibraryError, match="make build"):
        library_dir()


def test_check_turns_statuses_into_exceptions() -> None:
    lib = load_library()
    lib.check(0)
    with pytest.raises(InvalidRequestError, match="must not be NULL"):
        lib.check(lib.lc_backends_json(None))
    with pytest.raises(NativeError):
        lib.check(2)
    with pytest.raises(MemoryError):
        lib.check(3)


def test_the_build_says_what_it_is() -> None:
    info = load_library().build_info()
    assert info["llama_cpp"]
    assert info["cpu_build"] in ("native", "all")
    assert isinstance(info["blas"]["built"], bool)
    names = [backend["name"] for backend in load_library().backends()]
    assert "CPU" in names


def test_blas_takes_part_only_if_asked_for() -> None:
    lib = load_library()
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


def test_a_function_without_a_signature_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"llama_no_such_thing.*signatures\.py"):
        load_library().llama_no_such_thing  # noqa: B018


def test_a_load_error_is_one_line_without_names_of_functions() -> None:
    class Failed(Library):
        def __init__(self) -> None: ...

        def last_error(self) -> str:
            return (
                "llama_model_load: error loading model: no tensor\nllama_model_load: failed to load model\nno tensor\n"
            )

    assert Failed().load_error() == "error loading model: no tensor; no tensor"
