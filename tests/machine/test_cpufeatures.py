"""Instruction sets that the libraries need, and those of the CPU."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import CpuError, LibraryError
from llmcore.llama.ffi import library
from llmcore.machine.cpufeatures import NEEDS_FILE, check_cpu, cpu_features, missing_features, read_needs
from tests.machines import write

MACROS = ["__x86_64__", "__SSE3__", "__AVX2__", "__LZCNT__", "__AVX512F__", "__AVX512VNNI__", "__SHA__"]


def needs_file(
    folder: Path,
    macros: Sequence[str] = MACROS,
    flags_at_build: Sequence[str] = (),
    architecture: str = "x86_64",
    cpu_build: str = "native",
) -> None:
    told = {"architecture": architecture, "cpu_build": cpu_build, "macros": macros, "flags_at_build": flags_at_build}
    write(folder, NEEDS_FILE, json.dumps(told))


def cpuinfo(root: Path, *flags: str, key: str = "flags") -> None:
    write(root, "proc/cpuinfo", "\n".join(f"processor\t: {i}\n{key}\t\t: {each}\n" for i, each in enumerate(flags)))


def test_macros_become_the_kernels_words(tmp_path: Path) -> None:
    needs_file(tmp_path)
    needs = read_needs(tmp_path)
    assert needs is not None
    assert needs.features == {"pni", "avx2", "abm", "avx512f", "avx512_vnni"}


def test_what_the_kernel_did_not_list_at_build_is_not_looked_for(tmp_path: Path) -> None:
    needs_file(tmp_path, flags_at_build=["fpu", "pni", "avx2", "abm", "avx512f"])
    cpuinfo(tmp_path, "pni avx2 abm avx512f")
    assert missing_features(tmp_path, tmp_path) == ()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    needs_file(tmp_path)
    cpuinfo(tmp_path, "pni avx2 abm sse4_2", "pni avx2 abm sse4_2")
    assert missing_features(tmp_path, tmp_path) == ("avx512_vnni", "avx512f")
    with pytest.raises(CpuError, match=r"lacks avx512_vnni, avx512f.*LLMCORE_CPU=all") as caught:
        check_cpu(tmp_path, tmp_path)
    assert caught.value.code == "cpu_unsupported"


def test_every_cpu_must_have_it(tmp_path: Path) -> None:
    cpuinfo(tmp_path, "pni avx2 avx512f", "pni avx2")
    assert cpu_features(tmp_path) == frozenset({"pni", "avx2"})


def test_arm64(tmp_path: Path) -> None:
    macros = ["__ARM_FEATURE_DOTPROD", "__ARM_FEATURE_MATMUL_INT8", "__ARM_NEON"]
    needs_file(tmp_path, macros, architecture="aarch64")
    cpuinfo(tmp_path, "fp asimd asimddp", key="Features")
    assert missing_features(tmp_path, tmp_path) == ("i8mm",)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"architecture": 1}', "\x00", '{"architecture": "x86_64", "macros": 3}']
)
def test_no_file_or_a_damaged_one_forbids_nothing(tmp_path: Path, text: str) -> None:
    cpuinfo(tmp_path, "pni")
    check_cpu(tmp_path, tmp_path)
    write(tmp_path, NEEDS_FILE, text)
    assert read_needs(tmp_path) is None
    check_cpu(tmp_path, tmp_path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["architecture", "macros", "flags_at_build", "cpu_build"]), inner)
        ),
    )
)
def test_no_json_is_an_error(tmp_path_factory: pytest.TempPathFactory, told: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    write(folder, NEEDS_FILE, json.dumps(told))
    needs = read_needs(folder)
    assert needs is None or isinstance(needs.features, frozenset)


def test_an_unknown_architecture_or_no_cpuinfo_forbids_nothing(tmp_path: Path) -> None:
    needs_file(tmp_path)
    assert cpu_features(tmp_path) is None
    assert missing_features(tmp_path, tmp_path) == ()
    cpuinfo(tmp_path, "rv64", key="isa")
    assert cpu_features(tmp_path) is None
    needs_file(tmp_path, architecture="riscv64")
    cpuinfo(tmp_path, "pni")
    assert missing_features(tmp_path, tmp_path) == ()


def test_this_build_says_what_it_needs_and_this_machine_has_it() -> None:
    needs = read_needs(library.library_dir())
    assert needs is not None
    assert needs.cpu_build in ("native", "all")
    assert missing_features(library.library_dir()) == ()
    if needs.cpu_build == "native" and os.uname().machine == "x86_64":
        assert "sse4_2" in needs.features


def test_nothing_is_loaded_where_an_instruction_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / library.LIBRARY_NAME).write_bytes(b"not a library")
    needs_file(tmp_path, ["__AVX512FP16__"])
    monkeypatch.setattr(library, "library_dir", lambda: tmp_path)
    monkeypatch.setattr("llmcore.machine.cpufeatures.cpu_features", lambda root: frozenset({"pni"}))
    with pytest.raises(CpuError, match="lacks avx512_fp16"):
        library.load_library.__wrapped__()
    # Otherwise it would be opened, and found out.
    needs_file(tmp_path, ["__SSE3__"])
    with pytest.raises(LibraryError, match="cannot load"):
        library.load_library.__wrapped__()


def test_it_is_an_error_of_the_library() -> None:
    assert issubclass(CpuError, LibraryError)
